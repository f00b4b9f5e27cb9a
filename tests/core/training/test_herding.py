import numpy as np
import pytest
import torch

from ddcal_core.errors import InvalidDataError
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import ConvNetFeatures, PixelFeatures, TrainSpec
from ddcal_core.training.herding import herd, herded_subset, herding_features
from ddcal_core.training.train import train_network

FACTS = DatasetFacts(
    image_shape=(1, 8, 8),
    class_names=("a", "b", "c"),
    train_class_counts=(10, 10, 10),
    test_class_counts=(1, 1, 1),
    mean=(0.5,),
    std=(0.5,),
)


def some_features(n=30, width=7, draw=0):
    """Random features, not around 0."""
    return torch.randn((n, width), generator=seeded_generator(draw, "features")) * 2 + 1


def slow_herd(features, n):
    """Every candidate's mean written out, in float64."""
    rows = features.double().numpy()
    mean, chosen = rows.mean(0), []
    for _ in range(n):
        best, shortest = None, np.inf
        for k in range(len(rows)):
            if k in chosen:
                continue
            distance = np.linalg.norm(mean - np.mean(rows[[*chosen, k]], axis=0))
            if distance < shortest - 1e-12:
                best, shortest = k, distance
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "wanted"), [(1, 1), (9, 9), (30, 12)])
def test_herding_is_its_slow_loop(n, wanted, dtype):
    """The same rows in the same order, up to all of them."""
    for draw in range(5):
        features = some_features(n, draw=draw).to(dtype)
        assert herd(features, wanted).tolist() == slow_herd(features, wanted)


def test_the_first_is_closest_to_the_mean_and_fewer_are_the_beginning_of_more():
    """Both by the definition."""
    features = some_features()
    first = (features - features.mean(0)).norm(dim=1).argmin()
    chosen = herd(features, 20).tolist()
    assert chosen[0] == int(first)
    assert herd(features, 6).tolist() == chosen[:6]
    assert sorted(herd(features, 30).tolist()) == list(range(30))


def test_equal_rows_are_taken_in_their_order():
    """Ties go to the lowest index; no row is taken twice."""
    assert herd(torch.ones(4, 3), 3).tolist() == [0, 1, 2]
    assert herd(torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), 4).tolist() == [0, 1, 2, 3]


def test_a_common_shift_of_all_features_changes_nothing():
    """Only differences count, also far away from 0."""
    features = some_features()
    assert herd(features + 1000, 15).tolist() == herd(features, 15).tolist()


def test_the_mean_is_followed_closer_than_by_chance():
    """Of ten images the mean is closer to that of all than those of 200 random draws."""
    features = some_features(300, 20)

    def distance(index):
        return float((features[index].mean(0) - features.mean(0)).norm())

    draws = [
        distance(torch.randperm(300, generator=seeded_generator(k, "draw"))[:10])
        for k in range(200)
    ]
    assert distance(herd(features, 10)) < min(draws)


def test_each_class_is_herded_by_itself():
    """Class by class in the order of choice; the others' features do not matter."""
    features, labels = some_features(30), torch.arange(30) % 3
    chosen = herded_subset(features.__getitem__, labels, 4, 3)
    for label in range(3):
        own = (labels == label).nonzero().squeeze(1)
        wanted = own[torch.tensor(slow_herd(features[own], 4))]
        assert chosen[4 * label : 4 * label + 4].tolist() == wanted.tolist()


def test_what_cannot_be_herded_is_refused():
    """Too few rows, too few of a class, features that are no numbers."""
    with pytest.raises(InvalidDataError, match="at least 4 rows to choose from, got 3"):
        herd(some_features(3), 4)
    with pytest.raises(InvalidDataError, match="class 2 has 9"):
        herded_subset(some_features(29).__getitem__, torch.arange(29) % 3, 10, 3)
    features = some_features()
    features[7, 2] = float("inf")
    with pytest.raises(InvalidDataError, match="finite features"):
        herd(features, 2)


def some_images(n=12):
    """Random images and their labels."""
    images = torch.randn((n, 1, 8, 8), generator=seeded_generator(3, "images"))
    return images, torch.arange(n) % 3


def test_pixels_are_features():
    """As they are."""
    images, labels = some_images()
    found = herding_features(images, labels, PixelFeatures(name="pixels"), FACTS, seed=0)
    assert torch.equal(found(torch.tensor([7, 2])), images[[7, 2]].view(2, 64))


@pytest.mark.parametrize(("epochs", "n_images"), [(0, 5), (3, 5), (2, 5_000)])
def test_a_convnets_features_are_those_of_the_network_trained_by_hand(epochs, n_images):
    """The same random images, the same order, then what its linear layer sees."""
    images, labels = some_images()
    spec = ConvNetFeatures(name="convnet", width=4, depth=2, epochs=epochs, n_images=n_images)
    reports = []
    features = herding_features(images, labels, spec, FACTS, seed=5, on_progress=reports.append)
    found = features(torch.arange(12))
    training = TrainSpec(width=4, depth=2, epochs=max(epochs, 1), lr=0.01)
    network = build_network(training, FACTS, seeded_generator(5, "herd", "network"))
    if epochs:
        order = torch.randperm(12, generator=seeded_generator(5, "herd", "images"))[:n_images]
        generator = seeded_generator(5, "herd", "order")
        train_network(network, images[order], labels[order], training, generator=generator)
    torch.testing.assert_close(found, network.embed(images).detach())
    assert [(one.phase, one.step) for one in reports] == [("herd", k + 1) for k in range(epochs)]
    assert not found.requires_grad
