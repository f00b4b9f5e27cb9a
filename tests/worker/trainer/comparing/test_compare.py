"""The kind compare: what it reads, and what it writes."""

import csv
import json

from ddcal_core.formats.comparisons import read_comparison
from ddcal_core.specs.kinds.compare import CompareParams
from tests.worker.small_jobs import file_of, run_kind
from tests.worker.trainer.comparing.made_reports import made_report, written

RATIO = "distill.mask.ratio"


def compared(settings):
    """Params of a comparison of results with these settings."""
    return {
        "reports": [{"report": f"rep_{k:026d}", "settings": one} for k, one in enumerate(settings)]
    }


def test_results_stand_side_by_side_with_what_sets_them_apart(tmp_path):
    """One row a training set and calibration; the table has a row a network, a column a setting."""
    reports = [
        made_report({"none": [{"ece": 0.25}, {"ece": 0.75}], "mts auto": [{"ece": 0.5}] * 2}),
        None,
        made_report({"none": [{"ece": 0.125}]}, baseline=[{"ece": 0.5}]),
    ]
    params = compared([{RATIO: 0.0, "seed": 1}, {RATIO: 0.3, "seed": 1}, {RATIO: 0.3, "seed": 2}])
    inputs = {"reports": written(tmp_path / "in", reports)}
    (output,) = run_kind("compare", params, inputs, tmp_path / "out")
    record = read_comparison(file_of(output, "comparison.json").read_bytes())
    assert output.resource == "comparison"
    assert output.values["report_ids"] == [f"rep_{k:026d}" for k in (0, 2)]
    assert record.varied == {RATIO: (0.0, 0.3), "seed": (1, 2)}
    assert (record.dataset, record.n_missing) == ("digits", 1)
    assert [one.state for one in record.results] == [None, "failed", None]
    assert record.results[1].message == "nan_loss"
    names = [(row.result, row.training_set, row.calibration) for row in record.rows]
    assert names == [
        (0, "distilled", "as trained"),
        (0, "distilled", "MTS, ratio found, on training set"),
        (2, "distilled", "as trained"),
        (2, "random", "as trained"),
    ]
    assert record.rows[0].ece.mean == 0.5
    with file_of(output, "comparison.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    told = [(row[f"setting.{RATIO}"], row["setting.seed"], row["ece"]) for row in table]
    assert told[0] == ("0.0", "1", "0.25")
    assert told[-1] == ("0.3", "2", "0.5")
    assert len(table) == 6


def test_settings_are_told_apart_as_json_has_them():
    """0 and 0.0 are one value; 1 and true, and null and no value, are what they are."""
    values = [{"a": 0}, {"a": 0.0}, {"a": False}, {"a": None}, {"a": [1, 2]}]
    params = CompareParams.model_validate_json(json.dumps(compared(values)))
    assert [one.settings["a"] for one in params.reports] == [0, 0.0, False, None, [1, 2]]
