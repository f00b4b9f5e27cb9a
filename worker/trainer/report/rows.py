"""Measurements of many networks -> the numbers of report.json."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddcal_core.metrics import ReliabilityBins
from ddcal_core.specs.training import TrainSpec
from worker.trainer.inputs import ModelInput, SetInput
from worker.trainer.report.conventions import CONVENTIONS
from worker.trainer.report.data_words import data_suffix
from worker.trainer.report.findings import (
    common_status,
    describe_row,
    failures_of,
    findings,
    loss_words,
    mask_words,
    verdict_of,
)
from worker.trainer.report.measurements import (
    FURTHER,
    METRICS,
    Measurement,
    mean_and_deviation,
    wilson_interval,
)
from worker.trainer.report.network_words import network_suffixes, whole_network


@dataclass(frozen=True)
class Measured:
    """One network under one calibration.

    Attributes:
        model: the network.
        calibration_id: None for the reference T = 1 that nobody asked for.
        values: what the calibration found (method, fit_on, status, temperature, ...).
        after: the numbers under it.
        before: the numbers at T = 1.
    """

    model: ModelInput
    calibration_id: str | None
    values: Mapping[str, Any]
    after: Measurement
    before: Measurement


@dataclass(frozen=True)
class TrainingSet:
    """Networks that differ by seed alone.

    Attributes:
        label: for people ("distilled (DM, 10 per class)"), unlike any other's.
        images: what was trained on, in a sentence ("10 distilled images per class").
        config: of the first network.
        models: the networks, by seed.
        distilled: the set they were trained on, if it was a distilled one.
    """

    label: str
    images: str
    config: Mapping[str, Any]
    models: tuple[ModelInput, ...]
    distilled: SetInput | None


def group_models(
    models: Sequence[ModelInput], distilled_sets: Mapping[str, SetInput]
) -> list[TrainingSet]:
    """Put together the networks that differ by seed alone: distilled, random, full."""
    groups: dict[str, list[ModelInput]] = {}
    for model in models:
        groups.setdefault(_group_key(model.config), []).append(model)
    order = ("distilled", "random", "herding", "full")
    ordered = sorted(groups.values(), key=lambda g: order.index(g[0].config["training_set"]))
    suffixes = network_suffixes([members[0].config for members in ordered])
    found: list[TrainingSet] = []
    for members, suffix in zip(ordered, suffixes, strict=True):
        config = members[0].config
        distilled = distilled_sets.get(config["distilled_set_id"] or "")
        label = _label(config, distilled, suffix)
        # Two sets may be made alike from different seeds; people need to tell them apart.
        n_alike = sum(group.label.split(" #")[0] == label for group in found)
        found.append(
            TrainingSet(
                label=f"{label} #{n_alike + 1}" if n_alike else label,
                images=_images_words(config, suffix),
                config=config,
                models=tuple(sorted(members, key=lambda m: m.config["seed_index"])),
                distilled=distilled,
            )
        )
    return found


# Networks made before a setting existed were made with its default.
STANDARD = {"name": "standard"}
_DEFAULTS = TrainSpec().model_dump(mode="json")


def _group_key(config: Mapping[str, Any]) -> str:
    # Not the number of networks: a job that adds seeds adds to the same training set.
    train = {**_DEFAULTS, **config["train"]}
    del train["n_seeds"]
    names = ("training_set", "distilled_set_id", "images_per_class", "n_train", "split")
    chosen = [config.get("input_space", STANDARD), config.get("herding")]
    network = whole_network(config["network"])
    key = [train, network, *chosen, *(config[name] for name in names)]
    return json.dumps(key, sort_keys=True)


def _loss(config: Mapping[str, Any]) -> Mapping[str, Any]:
    loss: Mapping[str, Any] = (config.get("train") or {}).get("loss", _DEFAULTS["loss"])
    return loss


def _loss_suffix(config: Mapping[str, Any], link: str) -> str:
    loss = _loss(config)
    return "" if loss == _DEFAULTS["loss"] else f"{link}{loss_words(loss)}"


def _label(config: Mapping[str, Any], distilled: SetInput | None, suffix: str) -> str:
    network = f", {suffix}" if suffix else ""
    return _set_label(config, distilled) + network + _loss_suffix(config, ", ")


def _set_label(config: Mapping[str, Any], distilled: SetInput | None) -> str:
    data = data_suffix(config)
    if config["training_set"] == "full":
        return f"full ({config['n_train']:,} images{data})"
    each = f"{config['images_per_class']} per class{data}"
    if distilled is None:
        return f"{config['training_set']} ({each})"
    ratio = distilled.manifest["mask_ratio"]
    mask = distilled.manifest["distill"].get("mask", {"ratio": ratio})
    mdt = f", MDT {mask_words(mask)}" if ratio else ""
    return f"distilled ({distilled.manifest['method'].upper()}{mdt}, {each})"


def _images_words(config: Mapping[str, Any], suffix: str) -> str:
    network = f" ({suffix})" if suffix else ""
    return _set_words(config) + network + _loss_suffix(config, " with ")


def _set_words(config: Mapping[str, Any]) -> str:
    if config["training_set"] == "full":
        return f"{config['n_train']:,} real images"
    n = config["images_per_class"]
    kind = {"random": "random real", "herding": "herded real"}.get(config["training_set"])
    kind = kind or "distilled"
    return f"{n} {kind} {'image' if n == 1 else 'images'} per class"


_LBFGS = {f"lbfgs_{n}": f"TS by {n} steps of L-BFGS" for n in (50, 200)}
_LABELS = {"vector": "vector scaling", "isotonic": "isotonic regression", **_LBFGS}


def calibration_label(values: Mapping[str, Any]) -> str:
    """Name a calibration for people: "none", "TS on validation", "MTS 70 % on distilled"."""
    method, optimiser = values["method"], values.get("spec", {}).get("optimiser")
    if method == "none":
        return "none"
    name = _LABELS.get(optimiser, _LABELS.get(method, method.upper()))
    return f"{name}{_mask_label(values)} on {values['fit_on']}"


def _mask_label(values: Mapping[str, Any]) -> str:
    spec = values.get("spec", {})
    if values.get("found_by") == "known_factor":
        return ", by the set's factor,"
    if spec.get("mask", {}).get("ratio") == "auto":
        return ", ratio found,"
    if values["mask_ratio"] is None:
        return ""
    words = mask_words({**spec.get("mask", {}), "ratio": values["mask_ratio"]})
    n_draws = spec.get("draws_per_image")
    return f" {words}" + (f", {n_draws} draws an image" if n_draws else "")


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
                    "training_set": group.config["training_set"],
                    "training_set_label": group.label,
                    "training_images": group.images,
                    "training_set_index": index,
                    "loss": loss_words(_loss(group.config)),
                    "calibration": label,
                    **row,
                }
            )
    return [{**row, "words": describe_row(row)} for row in rows]


def _row(members: Sequence[Measured], *, n_test: int, n_bins: int) -> dict[str, Any]:
    values = members[0].values
    after = _summary([member.after for member in members])
    ratios = {member.values["mask_ratio"] for member in members}
    statuses = Counter(str(member.values["status"]) for member in members)
    temperatures = [member.values["temperature"] for member in members]
    found = [temperature for temperature in temperatures if temperature is not None]
    status = common_status(statuses)
    verdict = verdict_of(*(after[key]["mean"] for key in ("ece", "signed_gap", "null_p95")))
    fitted = [member.values.get("failures", ()) for member in members]
    return {
        "method": values["method"],
        "optimiser": values.get("spec", {}).get("optimiser"),
        "fit_on": values["fit_on"],
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
        "failures": failures_of(values["method"], verdict, status, fitted),
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


_OF_THE_FIT = (
    "n", "n_draws", "nll_before", "nll_after", "standard_error", "masked_accuracy",
    "clean_accuracy", "relative_temperature", "failures", "spec",
)  # fmt: skip


def _network(member: Measured) -> dict[str, Any]:
    return {
        "model_id": member.model.id,
        "calibration_id": member.calibration_id,
        "seed": member.model.config["seed"],
        "seed_index": member.model.config["seed_index"],
        "status": member.values["status"],
        "temperature": member.values["temperature"],
        **{name: member.values.get(name) for name in _OF_THE_FIT},
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
        dataset: name, facts and number of test images.
        groups: the training sets.
        rows: from `build_rows`.
        curves: the MTS curves.
        analyses: of logits and spectra, by name.
        made_with: seed, versions and seconds.
    """
    said = findings(dataset["name"], rows)
    return {
        "format": "ddcal report 1",
        "dataset": dataset["name"],
        "headline": said[0],
        "findings": said,
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
    config = group.config
    behind = config if group.distilled is None else group.distilled.manifest
    names = ("training_set", "distilled_set_id", "images_per_class", "n_train", "split")
    return {
        "label": group.label,
        **{name: config[name] for name in names},
        "network": config["network"],
        "train": config["train"],
        "train_accuracy": [model.config["train_accuracy"] for model in group.models],
        "model_ids": [model.id for model in group.models],
        "input_space": config.get("input_space", STANDARD),
        "real_class_counts": behind.get("real_class_counts"),
        "distilled": None if group.distilled is None else _provenance(group.distilled),
    }


def _provenance(distilled: SetInput) -> dict[str, Any]:
    names = "method mask_ratio n_images n_real_images seed seconds distill calibration_factor"
    return {"id": distilled.id, **{name: distilled.manifest.get(name) for name in names.split()}}


def headline_values(report: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is stored of a report beside its files: no bins, no networks."""
    rows = [{key: row[key] for key in row if key != "networks"} for row in report["rows"]]
    names = ("dataset", "headline", "findings", "n_test", "n_bins", "calibration_ids")
    return {**{name: report[name] for name in names}, "rows": rows}
