import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddcal_core.data.class_choice import (
    class_index,
    class_indices,
    facts_of_classes,
    long_tailed_counts,
    training_counts,
)
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.errors import InvalidDataError

FASHION = NAMED_DATASETS["fashion_mnist"]
DIGITS = NAMED_DATASETS["digits"]


def test_a_class_is_meant_by_name_or_by_index():
    """Names of digits are strings of their index; an index is a number."""
    assert class_indices(FASHION, ["Bag", 0, "Coat"]) == (8, 0, 4)
    assert class_indices(DIGITS, list(range(10))) is class_indices(DIGITS, None) is None
    assert class_indices(DIGITS, list(range(9, -1, -1))) == tuple(range(9, -1, -1))
    assert class_index(DIGITS, "7") == class_index(DIGITS, 7) == 7
    assert class_index(DIGITS, "seven") is class_index(DIGITS, 10) is class_index(DIGITS, -1)
    assert class_index(DIGITS, -1) is None


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([1], "at least 2, got 1"),
        ([1, "one"], "index 0 to 9; got 'one'"),
        ([1, 10], "got 10"),
        ([1, "1"], "each once.* got '1'"),
    ],
)
def test_classes_that_are_none_are_refused(choices, message):
    """Fewer than two, unknown ones, and one class in two guises."""
    with pytest.raises(InvalidDataError, match=message):
        class_indices(DIGITS, choices)


def test_facts_of_classes_are_theirs():
    """Names and counts in the order of the classes; shape, mean and std as before."""
    facts = facts_of_classes(DIGITS, (7, 1))
    assert facts.class_names == ("7", "1")
    assert facts.train_class_counts == (129, 131)
    assert facts.test_class_counts == (50, 51)
    assert (facts.mean, facts.image_shape) == (DIGITS.mean, DIGITS.image_shape)


def test_a_long_tail_has_the_published_counts():
    """CIFAR-10 with factors 0.01, 0.02 and 0.1, as Cui et al.'s code makes them (checked by hand).

    5000 * 0.01^(k/9): the numbers that papers on long-tailed CIFAR-10 list.
    """
    counts = (5000,) * 10
    wanted = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    assert long_tailed_counts(counts, 0.01) == wanted
    assert long_tailed_counts(counts, 0.1)[-1] == 500
    assert long_tailed_counts(counts, 1.0) == counts


def test_a_long_tail_rounds_down_exactly():
    """The last class has floor(n_max * factor), where floating point gives a hair less."""
    for percent in range(1, 101):
        factor = Fraction(percent, 100)
        wanted = max(1, math.floor(100 * factor))
        assert long_tailed_counts((100, 100), percent / 100) == (100, wanted)


@given(
    counts=st.lists(st.integers(1, 10_000), min_size=2, max_size=20),
    factor=st.floats(0.001, 1, allow_nan=False),
)
def test_a_long_tail_takes_from_what_there_is(counts, factor):
    """Never more than a class has, never none, and never more than the class before was asked."""
    kept = long_tailed_counts(counts, factor)
    assert all(1 <= left <= have for left, have in zip(kept, counts, strict=True))
    n_max, last = max(counts), len(counts) - 1
    for k, (left, have) in enumerate(zip(kept, counts, strict=True)):
        assert left == have or left >= math.floor(n_max * factor ** (k / last))


def test_training_counts_are_after_cut_and_tail():
    """A fifth is cut first, from balanced classes; the tail thins what is left."""
    facts = FASHION.model_copy(update={"train_class_counts": (100, 100, 100)})
    assert training_counts(facts, 30, None) == (90, 90, 90)
    assert training_counts(facts, 30, 0.01) == (90, 9, 1)
