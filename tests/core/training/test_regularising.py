import math

import pytest
import torch

from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.regularisers import Cutmix, Cutout, InputDropout, Mixup, regulariser_words
from ddcal_core.training.regularising import mixed_labels, regularised, regularised_classes
from tests.core.distillation.regularisers import REGULARISERS

MIXING = REGULARISERS[:2]
ALONE = REGULARISERS[2:]


def images_of(n_images=5, height=8, width=12, n_channels=2):
    """Standard normal images, float64: no two numbers are alike, and none is 0."""
    shape = (n_images, n_channels, height, width)
    return torch.randn(shape, generator=seeded_generator(0, *shape), dtype=torch.float64)


def test_nothing_is_nothing():
    """Without one the images come back themselves, and nothing is drawn."""
    images, generator = images_of(), seeded_generator(1)
    before = generator.get_state()
    assert regularised(None, images, generator).images is images
    real = [images_of(3), images_of(2)]
    matched = regularised_classes(None, images_of(4), real, generator)
    assert matched.real is real
    assert matched.targets.tolist() == [0, 1]
    assert torch.equal(generator.get_state(), before)


def test_mixup_is_a_weighted_sum():
    """Pixel by pixel; labels by the same share, whichever form they have."""
    images, labels = images_of(), torch.tensor([0, 2, 1, 2, 0])
    mixed = regularised(Mixup(name="mixup", alpha=1.0), images, seeded_generator(3))
    assert sorted(mixed.partner.tolist()) == [0, 1, 2, 3, 4]
    assert 0 < mixed.share < 1
    for k, other in enumerate(mixed.partner.tolist()):
        wanted = mixed.share * images[k] + (1 - mixed.share) * images[other]
        torch.testing.assert_close(mixed.images[k], wanted)
    soft = mixed_labels(mixed, labels, 4)
    assert soft.shape == (5, 4)
    for k, other in enumerate(mixed.partner.tolist()):
        row = [0.0] * 4
        row[labels[k]] += mixed.share
        row[labels[other]] += 1 - mixed.share
        assert soft[k].tolist() == pytest.approx(row)
    of_soft = mixed_labels(mixed, torch.eye(4, dtype=torch.float64)[labels], 4)
    assert torch.equal(of_soft, soft)


def test_cutmix_pastes_a_rectangle_and_labels_follow_its_area():
    """What is not the image's own is its partner's, a rectangle, of the share told."""
    sizes = set()
    for seed in range(60):
        images = images_of()
        mixed = regularised(Cutmix(name="cutmix"), images, seeded_generator(seed))
        inside = (mixed.images != images).any(1).any(0)
        partners = images[mixed.partner]
        assert torch.equal(mixed.images, torch.where(inside, partners, images))
        rows, columns = inside.any(1), inside.any(0)
        assert torch.equal(inside, rows[:, None] & columns)
        for line in (rows, columns):
            assert int((line[1:] != line[:-1]).sum()) + int(line[0]) + int(line[-1]) in (0, 2)
        area = int(inside.sum())
        if area or int((mixed.partner == torch.arange(5)).sum()) < 5:
            assert mixed.share == pytest.approx(1 - area / (8 * 12))
        sizes.add(area)
    assert len(sizes) > 20


def test_the_rectangle_of_cutmix_has_the_area_drawn():
    """Far from the edge each side is sqrt(1 - share) of the image's, to an even number below."""
    images = images_of(n_images=7, height=64, width=64)
    for seed in range(200):
        share = regularised(Mixup(name="mixup", alpha=1.0), images, seeded_generator(seed)).share
        mixed = regularised(Cutmix(name="cutmix", alpha=1.0), images, seeded_generator(seed))
        inside = (mixed.images != images).any(1).any(0)
        side = 2 * (int(64 * math.sqrt(1 - share)) // 2)
        height, width = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert height <= side
        assert width <= side
        at_edge = inside[0].any() | inside[-1].any() | inside[:, 0].any() | inside[:, -1].any()
        if not at_edge:
            assert (height, width) == (side, side)


def test_cutout_hides_one_square_of_each_image():
    """Of the side asked for, cut off at the edge, each image its own; nothing else changes."""
    images = images_of(n_images=200, height=10, width=10)
    got = regularised(Cutout(name="cutout", side=0.3), images, seeded_generator(2))
    assert got.partner is None
    hidden = (got.images == 0).all(1)
    assert torch.equal(got.images, torch.where(hidden[:, None], 0.0, images))
    heights, widths = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.flatten(1).sum(1), heights * widths)
    assert {*heights.tolist(), *widths.tolist()} == {2, 3}
    assert len({tuple(row.flatten().tolist()) for row in hidden}) > 60
    tiny = regularised(Cutout(name="cutout", side=0.01), images, seeded_generator(2))
    assert (tiny.images == 0).all(1).flatten(1).sum(1).tolist() == [1] * 200


def test_input_dropout_scales_what_it_keeps():
    """Each number on its own is 0 or divided by 1 - rate: the mean stays what it was."""
    images = images_of(n_images=100, height=20, width=20)
    got = regularised(InputDropout(name="input_dropout", rate=0.3), images, seeded_generator(2))
    dropped = got.images == 0
    torch.testing.assert_close(got.images, torch.where(dropped, 0.0, images / 0.7))
    assert float(dropped.double().mean()) == pytest.approx(0.3, abs=5 * (0.21 / 80_000) ** 0.5)
    assert not torch.equal(dropped[:, 0], dropped[:, 1])


@pytest.mark.parametrize("regulariser", REGULARISERS, ids=lambda one: one.name)
def test_gradients_are_central_differences(regulariser):
    """Images learn through every one of them."""
    images = images_of(n_images=2, height=4, width=4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: regularised(regulariser, x, seeded_generator(4)).images, (images,)
    )


@pytest.mark.parametrize("regulariser", ALONE, ids=lambda one: one.name)
def test_real_images_are_matched_as_they_are(regulariser):
    """What changes images alone is for the synthetic ones, as the mask is."""
    images, real = images_of(4), [images_of(3), images_of(2)]
    matched = regularised_classes(regulariser, images, real, seeded_generator(1))
    assert matched.real is real
    assert matched.targets.tolist() == [0, 1]
    wanted = regularised(regulariser, images, seeded_generator(1)).images
    assert torch.equal(matched.images, wanted)


@pytest.mark.parametrize("regulariser", MIXING, ids=lambda one: one.name)
def test_classes_are_blended_alike_on_both_sides(regulariser):
    """One share, one rectangle and one partner a class, for synthetic and real images."""
    ipc, n_classes, seed = 2, 3, 8
    images = images_of(ipc * n_classes)
    real = [images_of(n, n_channels=2) + n for n in (4, 6, 1)]
    matched = regularised_classes(regulariser, images, real, seeded_generator(seed))
    assert matched.targets.shape == (3, 3)
    torch.testing.assert_close(matched.targets.sum(1), torch.ones(3, dtype=torch.float64))
    # A constant image per class: what is seen of which class is read off the values.
    flat = torch.cat([torch.full((ipc, 1, 8, 12), 10.0**k) for k in range(n_classes)])
    flats = [torch.full((len(one), 1, 8, 12), 10.0**k) for k, one in enumerate(real)]
    seen = regularised_classes(regulariser, flat.double(), flats, seeded_generator(seed))
    powers = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    for k in range(n_classes):
        mean = seen.images[k * ipc].mean()
        torch.testing.assert_close(mean, matched.targets[k] @ powers)
        for batch in (seen.images[k * ipc : (k + 1) * ipc], seen.real[k]):
            torch.testing.assert_close(batch.double(), seen.images[k * ipc].expand_as(batch))


def test_each_is_told_with_its_strength():
    """In a label, no two alike."""
    words = [regulariser_words(one) for one in REGULARISERS]
    assert words == [
        "mixup, α = 1", "cutmix, α = 1", "cutout of 0.4 of the side", "30\u202f% input dropout"
    ]  # fmt: skip
    assert regulariser_words(None) == ""
