"""What `ddcal show` says of a job's results."""

import pytest

from ddcal.cli.things import told_apart
from ddcal.records import ResultRecord

TS = {"fit_on": "training_set", "mask_ratio": None, "training_set": "random", "seed_index": 1}


@pytest.mark.parametrize(
    ("resource", "method", "details", "words"),
    [
        ("distilled_set", "dm", {"mask_ratio": 0.3}, "distilled set by dm"),
        (
            "model",
            None,
            {"training_set": "full", "seed_index": 0},
            "model, trained on full, seed 0",
        ),
        (
            "calibration",
            "mts",
            {**TS, "mask_ratio": 0.5},
            "calibration by mts on training set, 50 % masked, trained on random, seed 1",
        ),
        ("calibration", "none", {"fit_on": None, "mask_ratio": None}, "calibration by none"),
        ("report", None, {}, "report"),
    ],
)
def test_a_result_is_told_from_the_others_of_its_job(resource, method, details, words):
    """By what it is, what it was fitted on, and its seed."""
    record = ResultRecord(
        id="x",
        resource=resource,
        job_id="job_x",
        method=method,
        details=details,
        created_at="2026-11-30T12:00:00Z",
    )
    assert told_apart(record) == words
