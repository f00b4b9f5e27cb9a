"""The report page's small print: how it was computed, each network's numbers, lineage."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pydantic import TypeAdapter

from ddcal_core.formats.manifests import Split
from ddcal_core.specs.networks import network_spec
from ddcal_core.specs.spaces import InputSpaceSpec
from ddcal_core.specs.training import TrainSpec
from worker.trainer.inputs import parse_json
from worker.trainer.report.data_words import data_sentences
from worker.trainer.report.findings import loss_words, percent
from worker.trainer.report.network_words import augmentation_words, network_words
from worker.trainer.report.page.captions import is_of_rows

_TERMS = {
    "temperature": "temperature",
    "fit_on": "fitted on",
    "found": "ratio found",
    "ece": "ECE",
    "null": "chance level",
    "signed_gap": "signed gap",
    "accuracy": "accuracy",
    "nll": "NLL",
    "brier": "Brier",
    "mean_std": "±",
    "verdict": "verdict",
    "failures": "failures",
    "difference": "more than noise",
    "ece_interval": "intervals of the ECE",
    "further": "further measures",
    "wilson": "intervals of bins",
    "predictions": "predictions",
    "n_test": "test images",
    "units": "units",
}


def method_section(report: Mapping[str, Any]) -> str:
    """Say how everything was computed, and every convention."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in report.get("steps") or _steps(report))
    conventions = report["conventions"]
    of_rows = {"n_test": "rows"} if is_of_rows(report) else {}
    terms = "".join(
        f"<dt>{escape(word)}</dt><dd>{escape(conventions[key])}</dd>"
        for key, word in {**_TERMS, **of_rows}.items()
        if key in conventions
    )
    return (
        f"<section><h2>How it was computed</h2><ol>{steps}</ol><h3>Conventions</h3>"
        f'<dl class="about">{terms}</dl></section>'
    )


def _steps(report: Mapping[str, Any]) -> list[str]:
    steps = []
    for training_set in report["training_sets"]:
        split, distilled = training_set["split"], training_set["distilled"]
        made = ""
        if distilled is not None:
            spec = distilled["distill"]
            made = (
                f" The set was distilled from {distilled['n_real_images']:,} real training images "
                f"by {distilled['method'].upper()} in {spec['iterations']:,} iterations (seed "
                f"{distilled['seed']}, {distilled['seconds']:.0f} s), with "
                f"{percent(distilled['mask_ratio'], 0)} of the synthetic pixels masked (MDT)."
                f"{_factor_words(distilled)}"
            )
        train = training_set["train"]
        network = network_words(network_spec(training_set["network"]))
        n_models = len(training_set["model_ids"])
        n_validation = split["n_validation"]
        n_cut = "one fifth, at most 2,000" if n_validation is None else f"{n_validation:,}"
        steps.append(
            f"{training_set['label']}: {n_models} "
            f"{'network' if n_models == 1 else 'networks'}, {network}, trained on "
            f"{training_set['n_train']:,} images for "
            f"{train['epochs']:,} epochs (SGD, learning rate {train['lr']:g}, momentum "
            f"{train['momentum']:g}, weight decay {train['weight_decay']:g}, batches of "
            f"{train['batch_size']:,}, {_train_words(train)}); "
            "accuracy on its own training images "
            f"{_range(training_set['train_accuracy'])}.{made} Validation images: {n_cut}, "
            f"cut from the training split by seed {split['seed']}."
            f"{_data_sentences(training_set)}"
        )
    made_with = report["made_with"]
    steps.append(
        f"This evaluation: {report['n_test']:,} test images, which nothing before it has read; "
        f"torch {made_with['torch']} on {made_with['device']} with {made_with['threads']} threads, "
        f"seed {made_with['seed']}, {made_with['seconds']:.1f} s."
    )
    return steps


def _factor_words(distilled: Mapping[str, Any]) -> str:
    measured = distilled.get("calibration_factor") or {}
    if measured.get("factor") is None:
        return ""
    return (
        f" It carries a factor of {measured['factor']:.3g}, measured on {measured['n_real']:,} "
        "validation images with their labels."
    )


def _train_words(train: Mapping[str, Any]) -> str:
    spec = parse_json(TrainSpec, train)
    return f"{loss_words(spec.loss)}, {augmentation_words(spec)}"


def _data_sentences(training_set: Mapping[str, Any]) -> str:
    space: InputSpaceSpec = _SPACE.validate_json(json.dumps(training_set["input_space"]))
    split = parse_json(Split, training_set["split"])
    return data_sentences(split, space, training_set["real_class_counts"])


_SPACE: TypeAdapter[InputSpaceSpec] = TypeAdapter(InputSpaceSpec)


def _range(values: Sequence[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return low if low == high else f"{low} to {high}"


def network_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """List every network under every calibration."""
    head = "".join(
        f"<th>{name}</th>"
        for name in ("training set", "calibration", "seed", "status", "T", "accuracy", "ECE", "gap",
                     "NLL")
    )  # fmt: skip
    body = "".join(_network_row(row, network) for row in rows for network in row["networks"])
    return (
        "<section><h2>Every network</h2><details><summary>One row a network and calibration"
        f'</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></details></section>"
    )


def _network_row(row: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    temperature, nll = network["temperature"], network["nll"]
    cells = (
        row["training_set_label"],
        row["calibration"],
        "unknown" if network["seed"] is None else f"{network['seed']} / {network['seed_index']}",
        network["status"].replace("_", " "),
        "none" if temperature is None else f"{temperature:.4g}",
        percent(network["accuracy"]),
        percent(network["ece"]) + _interval(network["ece_interval"]),
        percent(network["signed_gap"]),
        "∞" if nll is None else f"{nll:.3f}",
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" ({percent(ends[0])} to {percent(ends[1])})"


def lineage_section(report: Mapping[str, Any]) -> str:
    """Show what each number was made from, by id: data set, set, model, calibration."""
    sets = "".join(_lineage_of(training_set, report) for training_set in report["training_sets"])
    return (
        "<section><h2>Lineage</h2><details><summary>Ids of everything this report was made from"
        f"</summary><p>data set <code>{escape(report['dataset'])}</code></p>"
        f'<ul class="tree">{sets}</ul></details>'
        '<p class="foot">Everything on this page, with each bin of each network, is in '
        "report.json beside it.</p></section>"
    )


def _lineage_of(training_set: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    set_id = training_set["distilled_set_id"]
    name = escape(training_set["label"]) + (f" <code>{escape(set_id)}</code>" if set_id else "")
    models = []
    for model_id in training_set["model_ids"]:
        own = [
            f"<li>{escape(row['calibration'])} "
            f"<code>{escape(network['calibration_id'])}</code></li>"
            for row in report["rows"]
            for network in row["networks"]
            if network["model_id"] == model_id and network["calibration_id"]
        ]
        models.append(
            f'<li>model <code>{escape(model_id)}</code><ul class="tree">{"".join(own)}</ul></li>'
        )
    return f'<li>{name}<ul class="tree">{"".join(models)}</ul></li>'
