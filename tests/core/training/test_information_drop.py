import pytest
import torch

from ddcal_core.data.input_space import Standard
from ddcal_core.data.network_images import PixelImages
from ddcal_core.errors import InvalidDataError
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.information_drop import (
    DROPS,
    DroppedComponents,
    DroppedImages,
    DroppedPatches,
    DroppedPixels,
    drop_words,
)
from ddcal_core.training.information_drop import drop_information

SHARES = (0.0, 0.2, 0.5, 0.9)


def a_set(n_images=30, height=6, width=4):
    """Standard normal images of two channels and labels 0 to 2, class 1 the rarest."""
    images = torch.randn((n_images, 2, height, width), generator=seeded_generator(0, n_images))
    labels = torch.tensor([(0, 2, 0, 1, 0, 2)[k % 6] for k in range(n_images)])
    return images, labels


def left(spec, seed=1, **shape):
    """What is left of a set."""
    return drop_information(spec, *a_set(**shape), seeded_generator(seed))


def slow_components(images, share, chosen):
    """The sum of the kept singular components, one by one."""
    flat = images.double().flatten(1)
    rows, values, columns = torch.linalg.svd(flat, full_matrices=False)
    n_dropped = round(share * len(values))
    kept = range(len(values) - n_dropped) if chosen == "smallest" else range(n_dropped, len(values))
    total = torch.zeros_like(flat)
    for k in kept:
        total += values[k] * torch.outer(rows[:, k], columns[k])
    return total.view_as(images)


@pytest.mark.parametrize("what", DROPS)
def test_nothing_dropped_is_the_set(what):
    """A share of 0 leaves every image, and None the very same ones."""
    images, labels = a_set()
    nothing = drop_information(None, images, labels, seeded_generator(0))
    assert nothing.images is images
    assert nothing.index.tolist() == list(range(30))
    spec = DROPS[what].model_validate({"what": what, "share": 0.0})
    kept = left(spec)
    assert kept.index.tolist() == list(range(30))
    torch.testing.assert_close(kept.images[:], images, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("share", SHARES)
def test_pixels_are_dropped_in_all_channels_by_chance(share):
    """0 in the same place of every channel, of each image its own; the rest is bit for bit."""
    images, _ = a_set(n_images=400)
    got = left(DroppedPixels(what="pixels", share=share), n_images=400).images[:]
    dropped = got == 0
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert torch.equal(got, torch.where(dropped, 0.0, images))
    chance = 5 * (share * (1 - share) / (400 * 24)) ** 0.5
    assert float(dropped.double().mean()) == pytest.approx(share, abs=chance + 1e-12)


def test_patches_are_dropped_whole():
    """Squares from the top left corner on, cut off at the far edges."""
    got = left(DroppedPatches(what="patches", share=0.5, patch_size=4)).images[:]
    dropped = (got == 0).all(1)
    assert torch.equal((got == 0).any(1), dropped)
    for rows in (slice(0, 4), slice(4, 6)):
        piece = dropped[:, rows].flatten(1)
        assert torch.equal(piece.any(1), piece.all(1))
        assert 0 < int(piece.any(1).sum()) < 30
    with pytest.raises(ValueError, match="no larger than the images of 6 x 4, got 5 x 5"):
        left(DroppedPatches(what="patches", share=0.5, patch_size=5))


@pytest.mark.parametrize("n_images", [9, 48, 200])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_components_are_those_of_the_decomposition(n_images, share, which):
    """Sums of kept singular components: fewer images than numbers, as many, and more."""
    images, labels = a_set(n_images)
    spec = DroppedComponents(what="components", share=share, which=which)
    got = left(spec, n_images=n_images).images
    wanted = slow_components(images, share, which)
    torch.testing.assert_close(got[:].double(), wanted, rtol=1e-5, atol=1e-5)
    some = torch.tensor([5, 2])
    torch.testing.assert_close(got[some], got[:][some])
    assert got.dtype == images.dtype
    assert got.shape == images.shape
    assert len(got) == len(labels)


def test_random_components_depend_on_the_generator_alone():
    """The rank that is left is that of the share, and other draws keep other components."""
    spec = DroppedComponents(what="components", share=0.25, which="random")
    first, again, other = (left(spec, seed=seed).images[:] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)
    assert int(torch.linalg.matrix_rank(first.flatten(1).double(), rtol=1e-6)) == 30 - 8


def test_components_of_pixels_kept_as_such_are_the_same():
    """A data set in bytes, made into batches, is decomposed as the float set is."""
    pixels = torch.randint(256, (70, 1, 5, 5), generator=seeded_generator(3), dtype=torch.uint8)
    facts = DatasetFacts.model_construct(mean=(0.4,), std=(0.3,), image_shape=(1, 5, 5))
    space = Standard(facts)
    stored = PixelImages(pixels, torch.arange(70), space)
    spec = DroppedComponents(what="components", share=0.4)
    labels = torch.zeros(70, dtype=torch.int64)
    of_stored = drop_information(spec, stored, labels, seeded_generator(0)).images[:]
    wanted = slow_components(stored[:], 0.4, "smallest")
    torch.testing.assert_close(of_stored.double(), wanted, rtol=1e-5, atol=1e-5)


def test_what_nobody_can_decompose_is_refused(monkeypatch):
    """The smaller side of the matrix counts."""
    monkeypatch.setattr("ddcal_core.training.information_drop.MAX_COMPONENT_SIDE", 29)
    with pytest.raises(InvalidDataError, match=r"at most 29 images, .* got 30 images of 48"):
        left(DroppedComponents(what="components", share=0.5))
    left(DroppedComponents(what="components", share=0.5), n_images=29)
    left(DroppedComponents(what="components", share=0.5), height=2)


@pytest.mark.parametrize("share", SHARES)
def test_images_go_in_equal_shares_of_each_class(share):
    """One of each class stays; those that stay are as they were, in their order."""
    images, labels = a_set()
    got = left(DroppedImages(what="images", share=share))
    assert got.index.tolist() == sorted(set(got.index.tolist()))
    assert torch.equal(got.images[:], images[got.index])
    before, after = labels.bincount(), labels[got.index].bincount(minlength=3)
    for n, n_left in zip(before.tolist(), after.tolist(), strict=True):
        assert n_left == n - min(round(share * n), n - 1)


@pytest.mark.parametrize("what", ["pixels", "patches", "images"])
def test_a_larger_share_drops_all_that_a_smaller_one_does(what):
    """So that networks of growing shares differ by what is further dropped alone."""
    gone = []
    for share in (0.2, 0.5, 0.8):
        extra = {"patch_size": 2} if what == "patches" else {}
        kept = left(DROPS[what].model_validate({"what": what, "share": share, **extra}))
        if what == "images":
            gone.append(set(range(30)) - set(kept.index.tolist()))
        else:
            gone.append({tuple(place) for place in (kept.images[:] == 0).nonzero().tolist()})
    assert gone[0] < gone[1] < gone[2]


def test_each_is_told_with_its_share():
    """In a label, no two alike."""
    specs = [
        DroppedPixels(what="pixels", share=0.3),
        DroppedPatches(what="patches", share=0.3),
        DroppedComponents(what="components", share=0.3),
        DroppedComponents(what="components", share=0.3, which="random"),
        DroppedImages(what="images", share=0.25),
    ]
    assert [drop_words(spec) for spec in specs] == [
        "30\u202f% of pixels dropped",
        "30\u202f% of patches of 4 × 4 dropped",
        "30\u202f% of smallest components dropped",
        "30\u202f% of random components dropped",
        "25\u202f% of images dropped",
    ]
    assert drop_words(None) == ""
