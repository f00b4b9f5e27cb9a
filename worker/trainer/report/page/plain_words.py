"""The report's words, for whoever has not met them."""

from collections.abc import Mapping
from typing import Literal

from markupsafe import Markup

from ddcal_core.formats.calibrations import CalibrationMethod, TrainingSource
from ddcal_core.formats.reports import Report, ReportedTrainingSet
from ddcal_core.specs.regularisers import regulariser_words
from worker.trainer.report.page.templates import render

_ALWAYS = {
    "Confidence": (
        "the probability that a network gives to its own answer. It is calibrated if, of all "
        "answers given with 80 %, 80 % are right; over-confident if fewer are."
    ),
    "ECE": (
        "expected calibration error, how far confidence and accuracy lie apart on average over "
        "groups of like confidence. 0 % is perfect."
    ),
    "Signed gap": (
        "mean confidence minus accuracy: above 0 over-confident, below 0 under-confident."
    ),
    "Chance": (
        "on a limited test even a perfectly calibrated network shows some ECE. Whatever lies below "
        "that level cannot be told from perfect."
    ),
    "Temperature T": (
        "the network's raw scores, the logits, are divided by it before they become probabilities. "
        "Above 1 it takes confidence away, below 1 it adds some; no answer changes."
    ),
}
TRAINING_SET_WORDS: Mapping[TrainingSource | Literal["elsewhere"], Mapping[str, str]] = {
    "distilled": {
        "Distilled set": (
            "a few images per class, computed so that a network trained on them does well on real "
            "images. Networks trained on it are compared with others here."
        )
    },
    "random": {"Random": "as many real images, drawn at random: what a distilled set has to beat."},
    "taught": {
        "Taught": "the same random images, each labelled by the probabilities that a network "
        "trained on all real images gives it."
    },
    "herding": {},
    "full": {"Full": "the real training images themselves, or as many of them as is said."},
    "unknown": {
        "Imported network": (
            "a network made elsewhere and taken in from a file. Its answers were computed here; "
            "what it was trained on is not known here."
        )
    },
    "elsewhere": {},
}
METHOD_WORDS: Mapping[CalibrationMethod, Mapping[str, str]] = {
    "none": {},
    "ts": {"TS": "temperature scaling: T is the one that suits the images it is fitted on best."},
    "mts": {
        "MTS": (
            "masked temperature scaling: a share of each image is masked at random while T is "
            "fitted. On test nothing is masked."
        )
    },
    "vector": {"Vector scaling": "a factor and an offset for each class instead of one T."},
    "isotonic": {"Isotonic": "for each class a rising curve from its old probability to a new."},
    "ets": {
        "ETS": "ensemble temperature scaling: a mixture of what TS gives, of the network's own "
        "probabilities and of equal ones."
    },
}
DISTILLATION_WORDS: Mapping[str, str] = {
    "dm": "distribution matching",
    "dc": "gradient matching",
    "dsa": "gradient matching with augmentation",
    "mtt": "trajectory matching",
    "rtp": "Remember the Past, images put together from shared bases",
}


_FOUND_WORDS: Mapping[str, str] = {
    "ratio found": "that share was not given; the one that serves the validation images best is "
    "taken.",
    "T carried with the set": "nothing is masked: T follows from the size of the network's logits "
    "by a factor that was measured with labels when the set was made.",
    "T from the set alone": "nothing is masked: T follows from the size of the network's logits by "
    "a factor that was found without any real label.",
}


def words_section(report: Report) -> Markup:
    """Say in plain words what the words of this report mean."""
    return render("definitions.html", words=words_of(report))


def words_of(report: Report) -> dict[str, str]:
    """Give the meaning of each word that this report uses, and of no other."""
    words = dict(_ALWAYS)
    for training_set in report.training_sets:
        words |= TRAINING_SET_WORDS[training_set.training_set]
        words |= _distillation_words(training_set)
    rows = report.rows
    for row in rows:
        words |= METHOD_WORDS[row.method]
    said_of = " ".join(row.calibration for row in rows)
    words |= {word: said for word, said in _FOUND_WORDS.items() if word in said_of}
    if {"validation", "training_set"} <= {row.fit_on for row in rows}:
        words["On validation, on training set"] = (
            "what T was fitted on: labelled real images kept apart for it, or the small set that "
            "the network was trained on, which needs no further real label."
        )
    return words


def _distillation_words(training_set: ReportedTrainingSet) -> dict[str, str]:
    distilled = training_set.distilled
    if distilled is None:
        return {}
    if distilled.imported is not None:
        words = "a set made elsewhere and taken in from a file: how is not known here."
        return {"Distilled elsewhere": words}
    found = {}
    method = distilled.method
    if method in DISTILLATION_WORDS:
        found[method.upper()] = f"how the set was distilled: {DISTILLATION_WORDS[method]}."
    if distilled.mask_ratio:
        found["MDT"] = (
            "masked distillation training: a share of the synthetic pixels was masked at random in "
            "each step of the distillation."
        )
    if distilled.distill.regulariser is not None:
        words = regulariser_words(distilled.distill.regulariser)
        found["Regulariser"] = f"what else the synthetic images went through in each step: {words}."
    return found
