"""Reports with numbers of one's choice, each network's by itself, as an evaluation writes them."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ddcal_core.formats.reports import Report, read_report
from tests.core.formats.stored import stored

LABEL = "distilled (DM, 2 per class)"
Numbers = Mapping[str, float]


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and deviation, as reports have them."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None}


def made_report(
    rows: Mapping[str, Sequence[Numbers]],
    *,
    curve: Mapping[float, Sequence[float]] | None = None,
    dataset: str = "digits",
    baseline: Sequence[Numbers] = (),
) -> Report:
    """A report on one distilled set, and on random images where there is a baseline.

    Args:
        rows: a calibration ("none", "ts", "mts 0.5", "mts auto") -> its networks' numbers.
        curve: a ratio of MTS -> the networks' ECE.
        dataset: its name.
        baseline: numbers as trained of networks on random images.
    """
    held = read_report(stored("report")).as_json()
    first, of_set = held["rows"][0], held["training_sets"][0]
    label = {"training_set": "distilled", "training_set_label": LABEL, "training_set_index": 0}
    made = [_row(first | label, name, numbers) for name, numbers in rows.items()]
    sets = [of_set | {"label": LABEL}]
    if baseline:
        label = {"training_set": "random", "training_set_label": "random", "training_set_index": 1}
        made.append(_row(first | label, "none", baseline))
        sets.append(of_set | {"label": "random", "training_set": "random", "distilled": None})
    for analysis in ("logit_analysis", "spectrum_analysis"):
        held[analysis] = [held[analysis][0] | {"training_set_label": LABEL}]
    curves = [] if curve is None else [_curve(held["mts_curves"][0], curve)]
    changes = {"rows": made, "training_sets": sets, "mts_curves": curves, "comparisons": []}
    return read_report(held | changes | {"dataset": dataset})


def _row(row: Mapping[str, Any], name: str, numbers: Sequence[Numbers]) -> dict[str, Any]:
    row = copy.deepcopy(dict(row))
    method, _, ratio = name.partition(" ")
    network = row["networks"][0]
    spec: dict[str, Any] | None = None if method == "none" else {"method": method}
    if method != "none":
        row["fit_on"] = "training_set" if method == "mts" else "validation"
        spec = {"method": method, "fit_on": row["fit_on"]}
    if method == "mts":
        spec = (spec or {}) | {"mask": {"ratio": "auto" if ratio == "auto" else float(ratio)}}
        row["mask_ratio"] = None if ratio == "auto" else float(ratio)
    row |= {"method": method, "calibration": name, "n_networks": len(numbers)}
    row["networks"] = [
        network | {"model_id": f"mdl_{k}", "seed_index": k, "spec": spec} | dict(one)
        for k, one in enumerate(numbers)
    ]
    for metric in ("accuracy", "ece", "signed_gap", "nll", "brier"):
        row[metric] = summary([one[metric] for one in row["networks"]])
    return row


def _curve(curve: Mapping[str, Any], points: Mapping[float, Sequence[float]]) -> dict[str, Any]:
    (point,) = curve["points"]
    (network,) = point["networks"]
    return dict(curve) | {
        "training_set_label": LABEL,
        "fit_on": "training_set",
        "points": [
            point
            | {
                "ratio": ratio,
                "ece": summary(eces),
                "networks": [
                    network | {"model_id": f"mdl_{k}", "ece": ece} for k, ece in enumerate(eces)
                ],
            }
            for ratio, eces in points.items()
        ],
    }


def written(folder: Path, reports: Sequence[Report | None]) -> list[dict[str, Any]]:
    """Write reports as files; give what a trainer is told of them. None: its job has failed."""
    folder.mkdir(parents=True, exist_ok=True)
    given = []
    for k, report in enumerate(reports):
        job_id = f"job_{k:026d}"
        if report is None:
            given.append({"job_id": job_id, "state": "failed", "message": "nan_loss"})
            continue
        path = folder / f"{k}.json"
        path.write_text(json.dumps(report.as_json()))
        given.append({"job_id": job_id, "report_id": f"rep_{k:026d}", "path": str(path)})
    return given
