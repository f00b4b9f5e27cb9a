import pytest

from worker.trainer.report.data_words import data_sentences, data_suffix

PLAIN = {"dataset": "d", "seed": 0, "n_validation": None}
CHOSEN = {**PLAIN, "classes": [8, 3], "imbalance": 0.1}
ZCA = {"name": "zca", "eps": 0.1}
PER_IMAGE = {"name": "zca_per_image", "regularisation": 100.0}


@pytest.mark.parametrize(
    ("config", "suffix"),
    [
        ({"split": PLAIN}, ""),
        ({"split": {**PLAIN, "classes": None, "imbalance": None}, "input_space": ZCA}, ", ZCA"),
        ({"split": CHOSEN, "input_space": {"name": "standard"}}, ", long tail 0.1"),
        ({"split": CHOSEN, "input_space": PER_IMAGE}, ", ZCA per image, long tail 0.1"),
    ],
)
def test_a_label_says_what_is_not_plain(config, suffix):
    """A network from before there was a choice has nothing to add."""
    assert data_suffix(config) == suffix


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
    told = data_sentences({"split": CHOSEN, "input_space": space, "real_class_counts": counts})
    assert "2 were taken, for test as well: 8, 3." in told
    assert "factor 0.1 (Cui et al., 2019): 101 images of the first class to 10 of the last" in told
    assert words in told
    assert told.endswith(f"{zero}.")


def test_plain_data_needs_no_sentence():
    """Nor does a set of old, which says nothing of classes or counts."""
    plain = {"split": PLAIN, "input_space": {"name": "standard"}, "real_class_counts": None}
    assert data_sentences(plain) == ""


def test_many_classes_are_not_listed():
    """Their number is told, and where they stand."""
    split = {**PLAIN, "classes": list(range(50)), "imbalance": None}
    told = data_sentences(
        {"split": split, "input_space": {"name": "standard"}, "real_class_counts": [1] * 50}
    )
    assert told == " Of the data set's classes 50 were taken, for test as well: as its split lists."
