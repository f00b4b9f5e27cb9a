"""The temperature found with some real labels, or with none."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import nn

from ddcal_core.calibration.left_out import PRIORS, likeliest_factor
from ddcal_core.calibration.mask_ratio import (
    factor_by_labels,
    ratio_by_labels,
    temperature_by_factor,
    temperature_without_labels,
)
from ddcal_core.calibration.masked import fit_masked_temperature
from ddcal_core.calibration.temperature import fit_temperature
from ddcal_core.calibration.yardstick import (
    half_way_temperature,
    logit_rms,
    measure_yardstick,
)
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskShape, MaskSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network

SIDE = 4
SPEC = TrainSpec(width=4, depth=1, epochs=30, lr=0.1)


class Recorder(nn.Module):
    """A network that keeps what it is shown and multiplies another one's logits, as a fake."""

    def __init__(self, network, scale=1.0):
        super().__init__()
        self.network, self.scale, self.seen = network, scale, []

    def forward(self, images):
        self.seen.append(images)
        return self.network(images) * self.scale


def facts(n_classes):
    """Facts of grey images of 4 x 4."""
    return DatasetFacts(
        image_shape=(1, SIDE, SIDE),
        class_names=tuple("abcdef"[:n_classes]),
        train_class_counts=(9,) * n_classes,
        test_class_counts=(9,) * n_classes,
        mean=(0.5,),
        std=(0.5,),
    )


def blobs(n_each, n_classes=3, seed=0, noise=1.5):
    """Images of overlapping normal clusters, class by class; equal centres for every seed."""
    centres = torch.randn((n_classes, 1, SIDE, SIDE), generator=seeded_generator(0, "centres"))
    labels = torch.arange(n_classes).repeat_interleave(n_each)
    drawn = torch.randn((len(labels), 1, SIDE, SIDE), generator=seeded_generator(seed, "noise"))
    return centres[labels] + noise * drawn, labels


def trained_on(images, labels, n_classes=3):
    """A small ConvNet fitted to the images."""
    network = build_network(SPEC, facts(n_classes), seeded_generator(0, "network"))
    train_network(network, images, labels, SPEC, generator=seeded_generator(0, "order"))
    return network


def slow_nll(logits, labels, temperature):
    """The mean NLL by NumPy, in float64."""
    z = logits.double().numpy() / temperature
    return float(np.mean(logsumexp(z, axis=1) - z[np.arange(len(z)), labels.numpy()]))


def minimiser(cost):
    """The log T between -6 and 6 of least cost, by SciPy."""
    return minimize_scalar(cost, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9}).x


def test_half_way_images_are_means_of_unlike_pairs_and_count_for_both_labels():
    """The fit is SciPy's on the images shown, once with each of the two labels they lie between."""
    images, labels = blobs(2)
    network = Recorder(trained_on(images, labels))
    found = half_way_temperature(network, images, labels, seed=0)
    shown = torch.cat(network.seen)
    i, j = torch.combinations(torch.arange(len(labels))).T
    i, j = (one[labels[i] != labels[j]] for one in (i, j))
    half_way = (images[i] + images[j]) / 2
    gap = (shown.unsqueeze(1) - half_way).abs().amax((2, 3, 4))
    assert float(gap.min(1).values.max()) < 1e-5
    pair = gap.argmin(1)
    assert len(pair.unique()) == len(i)
    logits = predict_logits(network.network, shown).repeat(2, 1)
    both = torch.cat([labels[i][pair], labels[j][pair]])
    wanted = minimiser(lambda log_t: slow_nll(logits, both, math.exp(log_t)))
    assert found.status == "ok"
    assert math.log(found.temperature) == pytest.approx(wanted, abs=1e-6)


def test_two_classes_are_measured_by_the_rms_of_their_logits():
    """Midway between the only two classes even odds are best: the logits themselves, by NumPy."""
    images, labels = blobs(3, n_classes=2)
    network = trained_on(images, labels, 2)
    assert half_way_temperature(network, images, labels, seed=0).status == "worse_than_chance"
    yardstick = measure_yardstick(network, images, labels, seed=0)
    z = predict_logits(network, images).double().numpy()
    wanted = np.sqrt(np.mean((z - z.mean(1, keepdims=True)) ** 2))
    assert (yardstick.kind, yardstick.value) == ("logit_rms", pytest.approx(wanted, rel=1e-9))
    assert logit_rms(network, images) == yardstick.value
    with pytest.raises(ValueError, match="at least two different labels"):
        measure_yardstick(network, images, torch.zeros_like(labels), seed=0)


def test_two_classes_are_calibrated_by_images_left_out():
    """On fresh images the NLL falls; the factor is that of the folds, on their own scale."""
    images, labels = blobs(8, n_classes=2, noise=3.0)
    network = trained_on(images, labels, 2)
    found = temperature_without_labels(network, images, labels, SPEC, facts=facts(2), seed=0)
    fresh, fresh_labels = blobs(200, n_classes=2, seed=1, noise=3.0)
    logits = predict_logits(network, fresh)
    before, after = (slow_nll(logits, fresh_labels, t) for t in (1.0, found.temperature))
    assert (found.method, found.undetermined, found.n_folds) == ("folds", None, 5)
    assert found.temperature == found.yardstick.value * found.factor
    assert after < before


def test_where_nothing_tells_the_temperature_it_is_1():
    """Two classes of one image, two classes whose folds are wrong, logits that are constant."""
    images, labels = blobs(1, n_classes=2)
    network = trained_on(images, labels, 2)

    def find(network, images, labels, n_classes=2):
        return temperature_without_labels(
            network, images, labels, SPEC, facts=facts(n_classes), seed=0
        )

    one_each = find(network, images, labels)
    crossed = find(network, torch.cat([images, images.roll(1, 0)]), labels.repeat(2))
    flat = find(Recorder(network, 0.0), images, labels)
    assert [one.undetermined for one in (one_each, crossed, flat)] == [
        "nothing_to_leave_out",
        "left_out_worse_than_chance",
        "nothing_learned",
    ]
    assert {(one.temperature, one.factor) for one in (one_each, crossed, flat)} == {(1.0, None)}
    assert (crossed.n, crossed.n_folds) == (4, 2)
    known = temperature_by_factor(Recorder(network, 0.0), images, labels, 2.0, seed=0)
    assert (known.temperature, known.undetermined) == (1.0, "nothing_learned")


@pytest.mark.parametrize("kind", PRIORS)
@pytest.mark.parametrize("share_right", [0.0, 0.3, 0.8, 1.0])
def test_the_factor_is_the_likeliest_under_its_prior(share_right, kind):
    """Against SciPy on the written-out cost; finite where all or none are right."""
    generator = seeded_generator(0, "logits")
    logits = torch.randn((20, 4), generator=generator)
    right = torch.rand(20, generator=generator) < share_right
    labels = torch.where(right, logits.argmax(1), logits.argmin(1))

    centre, width = PRIORS[kind]

    def cost(log_t):
        prior = ((log_t - centre) / width) ** 2 / 2
        return 20 * slow_nll(logits, labels, math.exp(log_t)) + prior

    assert math.log(likeliest_factor(logits, labels, kind)) == pytest.approx(
        minimiser(cost), abs=1e-5
    )


def test_a_temperature_is_found_from_the_small_set_alone():
    """On fresh images its NLL is below that of the network as trained; every image is left out."""
    images, labels = blobs(8)
    network = trained_on(images, labels)
    steps = []
    found = temperature_without_labels(
        network, images, labels, SPEC, facts=facts(3), seed=0, on_progress=steps.append
    )
    fresh, fresh_labels = blobs(200, seed=1)
    logits = predict_logits(network, fresh)
    before, after = (slow_nll(logits, fresh_labels, t) for t in (1.0, found.temperature))
    best = slow_nll(logits, fresh_labels, fit_temperature(logits, fresh_labels).temperature)
    assert after < before - 0.5 * (before - best)
    assert (found.method, found.n, found.n_folds) == ("folds", 24, 5)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert 1 / 3 < found.left_out_accuracy < 1


@pytest.mark.long
def test_it_repeats_by_seed_and_follows_the_scale_of_the_logits():
    """Equal seeds give equal results; logits ten times as large, T ten times as large."""
    images, labels = blobs(4)
    network = trained_on(images, labels)

    def find(one, seed):
        return temperature_without_labels(one, images, labels, SPEC, facts=facts(3), seed=seed)

    found = find(network, 0)
    assert find(network, 0) == found
    assert find(network, 1).temperature != found.temperature
    tenfold = find(Recorder(network, 10.0), 0)
    assert tenfold.factor == found.factor
    assert tenfold.temperature == pytest.approx(10 * found.temperature, rel=1e-5)


def test_one_image_a_class_leaves_none_out():
    """Then the half-way temperature is the answer and no network is trained."""
    images, labels = blobs(1, n_classes=4)
    network = trained_on(images, labels, 4)
    steps = []
    found = temperature_without_labels(
        network, images, labels, SPEC, facts=facts(4), seed=3, on_progress=steps.append
    )
    half_way = half_way_temperature(network, images, labels, seed=3)
    assert (found.method, found.factor, found.n, steps) == ("half_way", 1.0, 0, [])
    assert found.temperature == found.yardstick.value == half_way.temperature
    assert found.left_out_accuracy is None


def test_folds_worse_than_chance_are_not_believed():
    """Where each left-out image looks like another class, the factor stays 1."""
    centres, _ = blobs(1, n_classes=4)
    images = torch.cat([centres, centres.roll(1, 0)])
    labels = torch.arange(4).repeat(2)
    network = trained_on(images, labels, 4)
    found = temperature_without_labels(network, images, labels, SPEC, facts=facts(4), seed=0)
    assert (found.method, found.factor, found.n_folds, found.n) == ("half_way", 1.0, 2, 8)
    assert found.left_out_accuracy < 1 / 4


def test_a_factor_measured_on_real_images_gives_their_temperature_back():
    """For the network it was measured on it is the exact T; a factor that is none is refused."""
    images, labels = blobs(5)
    real = blobs(100, seed=1)
    network = trained_on(images, labels)
    measured = factor_by_labels(network, (images, labels), real, seed=0)
    found = temperature_by_factor(network, images, labels, measured.factor, seed=0)
    exact = fit_temperature(predict_logits(network, real[0]), real[1]).temperature
    assert (measured.temperature, measured.n_real) == (pytest.approx(exact), 300)
    assert measured.factor == measured.temperature / measured.yardstick.value
    assert found.temperature == pytest.approx(exact, rel=1e-5)
    assert found.method == "known_factor"
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="wanted a finite factor above 0"):
            temperature_by_factor(network, images, labels, wrong, seed=0)


def test_the_ratio_of_least_real_nll_is_kept():
    """Each mask's T is MTS's own, its NLL NumPy's; the least one wins, patches among them."""
    small, real = blobs(5), blobs(100, seed=1)
    network = trained_on(*small)
    ratios = (0.0, 0.4, 0.6, 0.8)
    shapes = (MaskShape(), MaskShape(unit="patch", patch_size=2))
    found = ratio_by_labels(network, small, real, shapes, seed=0, ratios=ratios)
    logits = predict_logits(network, real[0])
    masks = [MaskSpec.of(shape, ratio) for shape in shapes for ratio in ratios]
    assert [one.mask for one in found.tried] == masks
    for one in found.tried:
        if one.mask.ratio == 0:
            continue
        masked = fit_masked_temperature(network, *small, one.mask, seed=0)
        assert one.temperature == masked.fit.temperature
        assert one.nll == pytest.approx(slow_nll(logits, real[1], one.temperature), rel=1e-6)
    assert found.best == min(found.tried, key=lambda one: one.nll)
    assert found.n_real == 300


class Constant(nn.Module):
    """A network that says the same of every image."""

    def forward(self, images):
        """Logits of three classes."""
        return torch.tensor([0.0, 0.0, 0.0]).expand(len(images), 3)


class Wrong(nn.Module):
    """A network that is sure of a wrong class, however little of an image it sees."""

    def __init__(self, images, labels):
        super().__init__()
        self.register_buffer("images", images)
        self.register_buffer("labels", labels)

    def forward(self, images):
        """Logits of three classes, least of that of the nearest image."""
        nearest = torch.cdist(images.flatten(1), self.images.flatten(1)).argmin(1)
        return -5 * nn.functional.one_hot(self.labels[nearest], 3).float()


@pytest.mark.parametrize(
    ("network", "status"),
    [
        (lambda _: Constant(), "unidentified"),
        (lambda small: Wrong(*small), "worse_than_chance"),
        (lambda small: trained_on(*small), "separable"),
    ],
)
def test_without_a_temperature_the_fit_says_why(network, status):
    """A network that has learned nothing is not one that is right about everything."""
    small = blobs(2, noise=0.1)
    found = ratio_by_labels(network(small), small, small, (MaskShape(),), seed=0, ratios=(0.0,))
    assert (found.best, found.status) == (None, status)


def test_no_ratio_is_the_answer_where_none_has_a_temperature():
    """A network that is right about every image, never masked, leaves nothing to fit."""
    small = blobs(2, noise=0.1)
    found = ratio_by_labels(trained_on(*small), small, small, (MaskShape(),), seed=0, ratios=(0.0,))
    assert found.best is None
    assert found.tried[0].nll == math.inf
