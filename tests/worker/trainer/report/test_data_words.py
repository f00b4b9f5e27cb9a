import pytest

from ddcal_core.formats.manifests import Split
from ddcal_core.specs.spaces import PerImageZcaSpace, StandardSpace, ZcaSpace
from worker.trainer.report.data_words import data_sentences, data_suffix

PLAIN = Split(dataset="d", seed=0, n_validation=None)
CHOSEN = PLAIN.model_copy(update={"classes": (8, 3), "imbalance": 0.1})
STANDARD = StandardSpace(name="standard")
ZCA = ZcaSpace(name="zca", eps=0.1)
PER_IMAGE = PerImageZcaSpace(name="zca_per_image", regularisation=100.0)


@pytest.mark.parametrize(
    ("split", "space", "suffix"),
    [
        (PLAIN, STANDARD, ""),
        (PLAIN, ZCA, ", ZCA"),
        (CHOSEN, STANDARD, ", long tail 0.1"),
        (CHOSEN, PER_IMAGE, ", ZCA per image, long tail 0.1"),
    ],
)
def test_a_label_says_what_is_not_plain(split, space, suffix):
    """A plain network has nothing to add."""
    assert data_suffix(split, space) == suffix


@pytest.mark.parametrize(
    ("space", "words", "zero"),
    [
        (ZCA, "by ZCA (eps 0.1)", "the mean image"),
        (PER_IMAGE, "(regularisation 100)", "one colour"),
    ],
)
def test_sentences_say_what_was_done(space, words, zero):
    """Classes by their labels, the tail's ends, the transform and what 0 is in it."""
    counts = [101, 10]
    told = data_sentences(CHOSEN, space, counts)
    assert "2 were taken, for test as well: 8, 3." in told
    assert "factor 0.1 (Cui et al., 2019): 101 images of the first class to 10 of the last" in told
    assert words in told
    assert told.endswith(f"{zero}.")


def test_plain_data_needs_no_sentence():
    """Nor does a set of old, which says nothing of classes or counts."""
    assert data_sentences(PLAIN, STANDARD, None) == ""


def test_many_classes_are_not_listed():
    """Their number is told, and where they stand."""
    split = PLAIN.model_copy(update={"classes": tuple(range(50))})
    told = data_sentences(split, STANDARD, [1] * 50)
    assert told == " Of the data set's classes 50 were taken, for test as well: as its split lists."
