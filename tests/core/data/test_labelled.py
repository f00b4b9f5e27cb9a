from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from ddcal_core.data.dataset_facts import NAMED_DATASETS, validation_counts
from ddcal_core.data.labelled import (
    LabelledImages,
    as_pixels,
    indices_by_class,
    load_named,
    long_tail,
    pick_classes,
    random_subset,
    split_validation,
)
from ddcal_core.errors import InvalidDataError
from ddcal_core.seeding import seeded_generator

NOWHERE = Path("/nonexistent")


@pytest.fixture(scope="module")
def digits():
    """Both splits of digits."""
    return {split: load_named("digits", split, NOWHERE, False) for split in ("train", "test")}


def test_digits_match_their_facts(digits):
    """Counts, shape, mean and deviation of digits are those that specs says."""
    facts = NAMED_DATASETS["digits"]
    train, test = digits["train"], digits["test"]
    assert tuple(torch.bincount(train.labels).tolist()) == facts.train_class_counts
    assert tuple(torch.bincount(test.labels).tolist()) == facts.test_class_counts
    assert train.images.shape == (1297, *facts.image_shape)
    pixels = train.images.double().numpy() / 255
    assert round(float(pixels.mean()), 4) == facts.mean[0]
    assert round(float(pixels.std()), 4) == facts.std[0]


def test_digits_are_scikit_learns(digits):
    """Both splits together hold each of scikit-learn's images once, rounded to 8 bits."""
    bunch = load_digits()
    wanted = sorted(
        (int(y), *np.rint(x / 16 * 255).astype(int).tolist())
        for x, y in zip(bunch.data, bunch.target, strict=True)
    )
    got = sorted(
        (int(y), *x.flatten().tolist())
        for split in digits.values()
        for x, y in zip(split.images, split.labels, strict=True)
    )
    assert got == wanted


def test_digits_are_always_split_alike(digits):
    """A second reading gives the same bytes."""
    again = load_named("digits", "train", NOWHERE, False)
    assert torch.equal(again.images, digits["train"].images)
    assert torch.equal(again.labels, digits["train"].labels)


def test_unknown_name_is_refused():
    """An unknown name is told together with those that are known."""
    with pytest.raises(
        InvalidDataError, match="named 'imagenet'; known: cifar10, cifar100, digits, "
    ):
        load_named("imagenet", "train", NOWHERE, False)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), "got torch.float32"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"\(2, 4, 4"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "int64 of shape"),
        (
            torch.zeros(2, 1, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            r"shape \(2,\), got torch.int64 of shape \(3,\)",
        ),
    ],
)
def test_labelled_images_refuse_other_shapes_and_types(images, labels, message):
    """Images are uint8 (N, C, H, W), labels int64 (N,), else the message says what was got."""
    with pytest.raises(InvalidDataError, match=message):
        LabelledImages(images, labels)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=120),
    st.one_of(st.none(), st.integers(1, 60)),
    st.integers(0, 2**31 - 1),
)
def test_validation_cut_is_a_partition_with_the_counts_of_specs(raw, n_validation, seed):
    """Training and validation are disjoint, complete, ascending; each class gives its share."""
    labels = torch.tensor(raw)
    n_validation = None if n_validation is None else min(n_validation, len(raw))
    train, validation = split_validation(labels, n_validation, 4, seed)
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(raw)))
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    counts = tuple(raw.count(k) for k in range(4))
    got = [raw[i] for i in validation.tolist()]
    assert tuple(got.count(k) for k in range(4)) == validation_counts(counts, n_validation)


def test_validation_cut_depends_on_the_seed_alone():
    """The same seed cuts the same images, another seed others."""
    labels = torch.arange(200) % 10
    first = split_validation(labels, 50, 10, 1)[1]
    assert torch.equal(split_validation(labels, 50, 10, 1)[1], first)
    assert not torch.equal(split_validation(labels, 50, 10, 2)[1], first)


def test_validation_cut_has_no_favourites():
    """Over many seeds every image is cut equally often."""
    labels = torch.arange(20) % 2
    times = torch.zeros(20)
    for seed in range(400):
        times[split_validation(labels, 8, 2, seed)[1]] += 1
    assert (times - 160).abs().max() < 5 * (400 * 0.4 * 0.6) ** 0.5


@pytest.mark.parametrize(
    ("labels", "message"),
    [([], "got none"), ([0, 3], "0 to 2, got 0 to 3"), ([-1, 0], "0 to 2, got -1 to 0")],
)
def test_cuts_refuse_labels_that_cannot_be(labels, message):
    """No labels, or one out of range, is said before anything is cut."""
    labels = torch.tensor(labels, dtype=torch.int64)
    with pytest.raises(InvalidDataError, match=message):
        split_validation(labels, 1, 3, 0)
    with pytest.raises(InvalidDataError, match=message):
        random_subset(labels, 1, 3, seeded_generator(0))


def test_indices_by_class_find_every_image():
    """Ascending positions for each class; none for one that is not there."""
    found = indices_by_class(torch.tensor([2, 0, 2, 0, 0]), 4)
    assert [index.tolist() for index in found] == [[1, 3, 4], [], [0, 2], []]


def test_random_subset_takes_equally_many_of_each_class():
    """Class 0 first, then 1, and so on; no image twice."""
    labels = torch.tensor([2, 0, 1, 0, 2, 1, 1, 0, 2, 0])
    index = random_subset(labels, 3, 3, seeded_generator(0, "subset"))
    assert labels[index].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(set(index.tolist())) == 9


def test_random_subset_takes_every_image_equally_often():
    """Over many generators each of ten images of a class is taken 3 times in 10."""
    labels, times = torch.zeros(10, dtype=torch.int64), torch.zeros(10)
    for draw in range(500):
        times[random_subset(labels, 3, 1, seeded_generator(draw, "subset"))] += 1
    assert (times - 150).abs().max() < 5 * (500 * 0.3 * 0.7) ** 0.5


def test_random_subset_refuses_a_class_that_is_too_small():
    """The class and what it has are named."""
    with pytest.raises(InvalidDataError, match=r"3 images of each .* class 1 has 2"):
        random_subset(torch.tensor([0, 0, 0, 1, 1]), 3, 2, seeded_generator(0))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), "got torch.int64"),
        (torch.full((1, 1, 4, 4), 1.5), "got 1.5 to 1.5"),
        (torch.full((1, 1, 4, 4), float("nan")), "got nan"),
        (torch.full((1, 1, 4, 4), -0.5), "got -0.5"),
    ],
)
def test_what_are_no_pixels_is_refused(images, message):
    """Other types and ranges, with what was got."""
    with pytest.raises(InvalidDataError, match=message):
        as_pixels(images)


def test_pixels_are_taken_as_bytes_or_as_floats():
    """uint8 / 255 in float32 to the bit; float64 rounded to float32; no pixels stay none."""
    levels = torch.arange(256, dtype=torch.uint8)
    wanted = torch.from_numpy(levels.numpy().astype(np.float32) / np.float32(255))
    assert torch.equal(as_pixels(levels), wanted)
    assert torch.equal(as_pixels(wanted), wanted)
    assert as_pixels(levels.double() / 255).dtype == torch.float32
    torch.testing.assert_close(as_pixels(levels.double() / 255), wanted)
    assert as_pixels(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)


def test_picked_classes_are_those_images_alone():
    """Stored order is kept; label k is the k-th class picked, whatever their order."""
    labels = torch.tensor([3, 0, 2, 3, 1, 0])
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    picked = pick_classes(LabelledImages(images, labels), (3, 0))
    assert picked.images.flatten().tolist() == [0, 1, 3, 5]
    assert picked.labels.tolist() == [0, 1, 0, 1]
    assert len(pick_classes(LabelledImages(images, labels), (7, 8)).labels) == 0


def test_a_long_tail_keeps_the_counts_asked_for():
    """Classes keep what `long_tailed_counts` says, out of the training images alone, ascending."""
    labels = torch.arange(3).repeat(50)
    index = torch.arange(0, 150)[torch.arange(150) % 5 != 0]
    kept = long_tail(labels, index, 3, factor=0.1, seed=4)
    assert torch.bincount(labels[kept]).tolist() == [40, 12, 4]
    assert set(kept.tolist()) <= set(index.tolist())
    assert kept.tolist() == sorted(kept.tolist())
    assert torch.equal(long_tail(labels, index, 3, factor=1.0, seed=4), index)


def test_long_tails_of_one_seed_lie_in_each_other():
    """A smaller factor keeps some of what a larger one keeps; another seed keeps others."""
    labels, index = torch.arange(4).repeat(100), torch.arange(400)
    small, large = (
        set(long_tail(labels, index, 4, factor=factor, seed=1).tolist()) for factor in (0.01, 0.2)
    )
    assert small < large
    assert set(long_tail(labels, index, 4, factor=0.2, seed=2).tolist()) != large
