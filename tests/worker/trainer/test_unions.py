"""The trainer's words and files know every member of every union; what lacks one is named."""

from typing import get_args

import pytest

from ddcal_core.formats.calibrations import CalibrationMethod, TrainingSource
from ddcal_core.specs.calibration import CALIBRATIONS, Optimiser
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.networks import NETWORK_OPTIONS
from ddcal_core.specs.training import TRAINING_SETS
from worker.trainer.fitting.calibrations import APPLY_WORDS
from worker.trainer.report.calibration_words import METHOD_LABELS, OPTIMISER_LABELS
from worker.trainer.report.network_words import NETWORK_LABELS
from worker.trainer.report.page.plain_words import (
    DISTILLATION_WORDS,
    METHOD_WORDS,
    TRAINING_SET_WORDS,
)
from worker.trainer.report.training_sets import IMAGES_WORDS

# What a report of uploaded logits says in place of a training set.
OF_LOGITS = {"elsewhere"}


@pytest.mark.parametrize(
    ("table", "registry"),
    [
        (APPLY_WORDS, CALIBRATIONS),
        (METHOD_LABELS, CALIBRATIONS),
        (METHOD_WORDS, CALIBRATIONS),
        (get_args(CalibrationMethod), CALIBRATIONS),
        (OPTIMISER_LABELS, get_args(get_args(Optimiser)[0])),
        (DISTILLATION_WORDS, METHODS),
        (NETWORK_LABELS, NETWORK_OPTIONS),
        (IMAGES_WORDS, TRAINING_SETS),
        (set(TRAINING_SET_WORDS) - OF_LOGITS, TRAINING_SETS),
        (get_args(TrainingSource), TRAINING_SETS),
    ],
    ids=[
        "how a calibration is applied",
        "labels of calibrations",
        "plain words of calibrations",
        "calibrations in files",
        "labels of optimisers",
        "plain words of distillation methods",
        "labels of networks",
        "images of training sets",
        "plain words of training sets",
        "training sets in files",
    ],
)
def test_every_member_is_in_the_table(table, registry):
    """And nothing else is."""
    assert set(table) == set(registry)
