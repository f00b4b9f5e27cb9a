"""The trainer's words and files know every member of every union; what lacks one is named."""

from dataclasses import fields
from typing import get_args

import pytest

from ddcal_core.formats.calibrations import CalibrationMethod, Failure, TrainingSource
from ddcal_core.formats.logits_calibrations import LogitsCalibrationFile
from ddcal_core.formats.report_rows import RowStatus
from ddcal_core.specs.calibration import CALIBRATIONS, Optimiser
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.foreign_networks import FOREIGN_NAMES, NetworkSpace
from ddcal_core.specs.networks import NETWORK_OPTIONS
from ddcal_core.specs.training import TRAINING_SETS
from tests.worker.supervisor import test_resume
from tests.worker.trainer import test_baselines, test_distill, test_logits_edges
from worker.trainer.fitting.calibrations import APPLY_WORDS, Scaling
from worker.trainer.kinds.evaluate import CURVES_FIT_ON
from worker.trainer.kinds.import_network import READS_WORDS
from worker.trainer.report.calibration_words import METHOD_LABELS, OPTIMISER_LABELS
from worker.trainer.report.conventions import CONVENTIONS
from worker.trainer.report.network_words import NETWORK_LABELS
from worker.trainer.report.page.plain_words import (
    DISTILLATION_WORDS,
    METHOD_WORDS,
    TRAINING_SET_WORDS,
)
from worker.trainer.report.row_words import FAILURE_WORDS, STATUS_WORDS
from worker.trainer.report.training_sets import IMAGES_WORDS

# What a report of uploaded logits says in place of a training set.
OF_LOGITS = {"elsewhere"}
# What nobody trains on here.
OF_IMPORTED = {"unknown"}
# Those that are run by tests in files of their own.
RUN_ELSEWHERE = {"mtt", "rtp"}
MASKED = {"mts"}


def methods_of(specs):
    """The methods that a test's specs name."""
    return {spec["method"] for spec in specs}


@pytest.mark.parametrize(
    ("table", "registry"),
    [
        (APPLY_WORDS, CALIBRATIONS),
        (METHOD_LABELS, CALIBRATIONS),
        (METHOD_WORDS, CALIBRATIONS),
        (get_args(CalibrationMethod), CALIBRATIONS),
        (OPTIMISER_LABELS, get_args(get_args(Optimiser)[0])),
        (DISTILLATION_WORDS, METHODS),
        (READS_WORDS, get_args(NetworkSpace)),
        (NETWORK_LABELS, {*NETWORK_OPTIONS, *FOREIGN_NAMES}),
        (IMAGES_WORDS, {*TRAINING_SETS, *OF_IMPORTED}),
        (TRAINING_SET_WORDS, {*TRAINING_SETS, *OF_IMPORTED, *OF_LOGITS}),
        (CURVES_FIT_ON, {*TRAINING_SETS, *OF_IMPORTED, *OF_LOGITS}),
        (get_args(TrainingSource), {*TRAINING_SETS, *OF_IMPORTED}),
        (STATUS_WORDS, [one for part in get_args(RowStatus) for one in get_args(part)]),
        (FAILURE_WORDS, get_args(Failure)),
        ({*test_distill.METHODS, *RUN_ELSEWHERE}, METHODS),
        (test_resume.METHODS, METHODS),
        (methods_of(test_baselines.SPECS) | MASKED, CALIBRATIONS),
        (methods_of(test_logits_edges.METHODS) | MASKED, CALIBRATIONS),
    ],
    ids=[
        "how a calibration is applied",
        "labels of calibrations",
        "plain words of calibrations",
        "calibrations in files",
        "labels of optimisers",
        "plain words of distillation methods",
        "what networks made elsewhere read",
        "labels of networks",
        "images of training sets",
        "plain words of training sets",
        "curves of training sets",
        "training sets in files",
        "words of statuses",
        "words of failures",
        "distillations run by a test",
        "distillations killed and resumed by a test",
        "calibrations of networks run by a test",
        "calibrations of logits run by a test",
    ],
)
def test_every_member_is_in_the_table(table, registry):
    """And nothing else is."""
    assert set(table) == set(registry)


@pytest.mark.parametrize("method", sorted(set(CALIBRATIONS) - {"none"}))
def test_every_calibration_has_its_convention(method):
    """The report says what it is, under its name."""
    assert METHOD_LABELS[method].lower() in CONVENTIONS["temperature"].lower()


@pytest.mark.parametrize("scaling", get_args(Scaling))
def test_every_scaling_fits_in_the_file_of_logits(scaling):
    """It has a field for each of the scaling's."""
    assert {one.name for one in fields(scaling)} <= set(LogitsCalibrationFile.model_fields)
