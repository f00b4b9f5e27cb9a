"""Logits at the edges, by every method at once: each gets a status, never a silent number."""

import json

import numpy as np
import pytest

from tests.worker.small_jobs import file_of
from tests.worker.trainer.test_calibrate_logits import FIT, LABELS, RIGHT, TEST, K, calibrate

METHODS = [
    {"method": "none"},
    {"method": "ts"},
    {"method": "ts", "optimiser": "lbfgs_50"},
    {"method": "vector"},
    {"method": "isotonic"},
    {"method": "ets"},
]
FLAT = np.zeros((400, K))
FIT_LOGITS, FIT_LABELS = FIT
# The chance level takes most of the time: few rows to measure on.
FEW = TEST[0][:200], TEST[1][:200]
# What TS, TS by 50 steps of L-BFGS and vector scaling are to say; None: any known status.
EDGES = {
    "one row, right": ((RIGHT[:1], LABELS[:1]), ("separable", "not_converged", "separable")),
    "one row, wrong": ((RIGHT[:1], LABELS[1:2]), ("worse_than_chance", "not_converged", None)),
    "two rows": ((FIT_LOGITS[:2], FIT_LABELS[:2]), (None, None, None)),
    "one class only": ((FIT_LOGITS, np.zeros_like(FIT_LABELS)), (None, None, None)),
    "constant": ((FLAT, LABELS), ("unidentified", "not_converged", "unidentified")),
}
KNOWN = {
    "ok", "separable", "worse_than_chance", "unidentified", "not_converged", "not_positive",
    "not_finite", "one_class",
}  # fmt: skip


@pytest.fixture(scope="module", params=EDGES)
def edge(request, tmp_path_factory):
    """One edge's expected statuses, outputs, report and page."""
    rows, expected = EDGES[request.param]
    folder = tmp_path_factory.mktemp("edge")
    outputs, report = calibrate(folder, rows, FEW, calibrate=METHODS)
    return expected, outputs, report, file_of(outputs["report"], "report.html").read_text()


def test_every_method_has_a_status(edge):
    """Those known beforehand, and for the rest one of those there are words for."""
    (exact, lbfgs, vector), outputs, _, _ = edge
    statuses = {key: one.values.get("status") for key, one in outputs.items() if key != "report"}
    assert set(statuses.values()) <= KNOWN
    for key, wanted in (("ts", exact), ("ts_lbfgs_50", lbfgs), ("vector", vector)):
        assert wanted is None or statuses[f"calibration_{key}"] == wanted
    for one in outputs.values():
        json.dumps(dict(one.values), allow_nan=False)


def test_there_is_a_temperature_where_the_status_says_so(edge):
    """Above 0 and finite, or none; a file says how to apply what was found, or that nothing was."""
    _, outputs, _, _ = edge
    for key, one in outputs.items():
        if not key.startswith("calibration_ts"):
            continue
        temperature, status = one.values["temperature"], one.values["status"]
        assert (temperature is not None) == (status in {"ok", "not_converged"})
        assert temperature is None or 0 < temperature < float("inf")
        said = json.loads(one.files[0].read_text())
        assert (said["apply"] is None) == (temperature is None)


def test_the_report_is_whole(edge):
    """A row per method with its words, all numbers finite or said to be infinite, a page of it."""
    _, _, report, page = edge
    assert len(report["rows"]) == len(METHODS)
    json.dumps(report, allow_nan=False)
    for row in report["rows"]:
        assert 0 <= row["ece"]["mean"] <= 1
        assert row["words"]
        if row["status"] not in {"ok", "one_class"}:
            assert f"<b>{row['status'].replace('_', ' ')}</b>" in page
    assert "NaN" not in page
    assert ">None<" not in page


def test_the_scale_alone_changes_no_probability(tmp_path):
    """Times 1e4 or 1e-4, exact TS and vector scaling end at the same numbers."""
    found = []
    for k, factor in enumerate((1.0, 1e4, 1e-4)):
        scaled = [(logits * factor, labels) for logits, labels in (FIT, FEW)]
        specs = [METHODS[1], METHODS[3]]
        _, report = calibrate(tmp_path / str(k), *scaled, calibrate=specs)
        found.append([row["nll"]["mean"] for row in report["rows"][1:]])
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[2] == pytest.approx(found[0], rel=1e-6)
