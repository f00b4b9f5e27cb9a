"""Measurements of many networks -> the numbers of report.json."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddcal_core.formats.calibrations import (
    CalibrationFindings,
)
from ddcal_core.formats.records import VERSION
from ddcal_core.metrics import ReliabilityBins
from worker.trainer.inputs import SetInput
from worker.trainer.report.calibration_words import calibration_label
from worker.trainer.report.conventions import CONVENTIONS
from worker.trainer.report.findings import (
    common_status,
    describe_row,
    failures_of,
    findings,
    loss_words,
    verdict_of,
)
from worker.trainer.report.measurements import (
    FURTHER,
    METRICS,
    Measurement,
    mean_and_deviation,
    wilson_interval,
)
from worker.trainer.report.training_sets import Network, TrainingSet


@dataclass(frozen=True)
class Measured:
    """One network under one calibration.

    Attributes:
        model: the network.
        calibration_id: None for the reference T = 1 that nobody asked for.
        values: what the calibration found.
        after: the numbers under it.
        before: the numbers at T = 1.
    """

    model: Network
    calibration_id: str | None
    values: CalibrationFindings
    after: Measurement
    before: Measurement


def build_rows(
    groups: Sequence[TrainingSet], measured: Sequence[Measured], *, n_test: int, n_bins: int
) -> list[dict[str, Any]]:
    """Give the table: one row a training set and calibration, `none` first.

    Args:
        groups: the training sets, in the order wanted.
        measured: every network under every calibration, `none` among them.
        n_test: number of test images.
        n_bins: bins of the ECE.
    """
    rows = []
    for index, group in enumerate(groups):
        ids = {model.id for model in group.models}
        by_label: dict[str, list[Measured]] = {}
        for one in measured:
            if one.model.id in ids:
                by_label.setdefault(calibration_label(one.values), []).append(one)
        for label in sorted(by_label, key=lambda label: label != "none"):
            row = _row(by_label[label], n_test=n_test, n_bins=n_bins)
            rows.append(
                {
                    "training_set": group.source,
                    "training_set_label": group.label,
                    "training_images": group.images,
                    "training_set_index": index,
                    "loss": loss_words(group.loss),
                    "calibration": label,
                    **row,
                }
            )
    return [{**row, "words": describe_row(row)} for row in rows]


def _row(members: Sequence[Measured], *, n_test: int, n_bins: int) -> dict[str, Any]:
    values = members[0].values
    after = _summary([member.after for member in members])
    ratios = {member.values.mask_ratio for member in members}
    statuses = Counter(str(member.values.status) for member in members)
    temperatures = [member.values.temperature for member in members]
    found = [temperature for temperature in temperatures if temperature is not None]
    status = common_status(statuses)
    verdict = verdict_of(*(after[key]["mean"] for key in ("ece", "signed_gap", "null_p95")))
    fitted = [member.values.failures for member in members]
    return {
        "method": values.method,
        "optimiser": values.optimiser,
        "fit_on": values.fit_on,
        # With ratio auto each network may have its own.
        "mask_ratio": next(iter(ratios)) if len(ratios) == 1 else None,
        "n_networks": len(members),
        "n_test": n_test,
        "n_bins": n_bins,
        "status": status,
        "statuses": dict(statuses),
        "temperature": {**mean_and_deviation(found), "n": len(found)},
        **after,
        "before": _summary([member.before for member in members]),
        "further": _further([member.after for member in members]),
        "verdict": verdict,
        "failures": failures_of(values.method, verdict, status, fitted),
        "calibration_ids": [m.calibration_id for m in members if m.calibration_id is not None],
        "networks": [_network(member) for member in members],
    }


def _summary(measurements: Sequence[Measurement]) -> dict[str, Any]:
    return {
        metric: mean_and_deviation([getattr(one, metric) for one in measurements])
        for metric in METRICS
    }


def _further(measurements: Sequence[Measurement]) -> dict[str, Any] | None:
    values = [one.further for one in measurements if one.further is not None]
    if len(values) < len(measurements):
        return None
    return {name: mean_and_deviation([one[name] for one in values]) for name in FURTHER}


_OF_THE_FIT = {
    "n", "n_draws", "nll_before", "nll_after", "standard_error", "masked_accuracy",
    "clean_accuracy", "relative_temperature", "failures", "spec",
}  # fmt: skip


def _network(member: Measured) -> dict[str, Any]:
    return {
        "model_id": member.model.id,
        "calibration_id": member.calibration_id,
        "seed": member.model.seed,
        "seed_index": member.model.seed_index,
        "status": member.values.status,
        "temperature": member.values.temperature,
        **member.values.model_dump(mode="json", include=_OF_THE_FIT),
        **{metric: getattr(member.after, metric) for metric in METRICS},
        "ece_interval": member.after.ece_interval,
        "further": member.after.further,
        "bins": _bins(member.after.bins),
    }


def _bins(bins: ReliabilityBins) -> dict[str, Any]:
    """Write bins with their signed gap and the interval of their accuracy; None where empty."""
    pairs = list(zip(bins.confidence, bins.accuracy, bins.count, strict=True))
    intervals = [None if right is None else wilson_interval(right, n) for _, right, n in pairs]
    return {
        **dataclasses.asdict(bins),
        "signed_gap": [
            None if shown is None or right is None else shown - right for shown, right, _ in pairs
        ],
        "wilson_low": [ends and ends[0] for ends in intervals],
        "wilson_high": [ends and ends[1] for ends in intervals],
    }


def build_report(
    dataset: Mapping[str, Any],
    groups: Sequence[TrainingSet],
    rows: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
    *,
    analyses: Mapping[str, Any],
    made_with: Mapping[str, Any],
) -> dict[str, Any]:
    """Put everything together that report.json holds.

    Args:
        dataset: name, facts, notes and number of test images.
        groups: the training sets.
        rows: from `build_rows`.
        curves: the MTS curves.
        analyses: of logits and spectra, by name.
        made_with: seed, versions and seconds.
    """
    said = findings(dataset["name"], rows)
    return {
        "format": "ddcal report 1",
        "version": VERSION,
        "dataset": dataset["name"],
        "headline": said[0],
        "findings": [said[0], *dataset["notes"], *said[1:]],
        "n_test": dataset["n_test"],
        "n_bins": rows[0]["n_bins"],
        "class_names": dataset["class_names"],
        "image_shape": dataset["image_shape"],
        "training_sets": [_training_set(group) for group in groups],
        "rows": list(rows),
        "mts_curves": list(curves),
        **analyses,
        "conventions": CONVENTIONS,
        "calibration_ids": sorted({id_ for row in rows for id_ in row["calibration_ids"]}),
        "made_with": dict(made_with),
    }


def _training_set(group: TrainingSet) -> dict[str, Any]:
    config = group.configs[0]
    behind = config if group.distilled is None else group.distilled.manifest
    told = config.model_dump(mode="json", include=_OF_THE_CONFIG)
    return {
        "label": group.label,
        **told,
        "train_accuracy": [one.train_accuracy for one in group.configs],
        "model_ids": [model.id for model in group.models],
        "real_class_counts": behind.real_class_counts,
        "distilled": None if group.distilled is None else _provenance(group.distilled),
    }


_OF_THE_CONFIG = {
    "training_set", "distilled_set_id", "images_per_class", "n_train", "split", "network", "train",
    "input_space",
}  # fmt: skip
_OF_THE_MANIFEST = {
    "method", "mask_ratio", "n_images", "n_real_images", "seed", "seconds", "distill",
    "calibration_factor",
}  # fmt: skip


def _provenance(distilled: SetInput) -> dict[str, Any]:
    told = distilled.manifest.model_dump(mode="json", include=_OF_THE_MANIFEST)
    return {"id": distilled.id, **told}


def headline_values(report: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is stored of a report beside its files: no bins, no networks."""
    rows = [{key: row[key] for key in row if key != "networks"} for row in report["rows"]]
    names = ("dataset", "headline", "findings", "n_test", "n_bins", "calibration_ids")
    return {**{name: report[name] for name in names}, "rows": rows}
