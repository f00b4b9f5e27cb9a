"""The two causes of over-confidence that the paper gives, measured: logits and spectra.

Source: arXiv 2307.12463. A network trained on a distilled set (DDNN) is said to have more
concentrated largest logits than one trained on the full data (FDNN), and the distilled set's
singular values to be more concentrated than those of real images.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddcal_core.metrics.spectrum import (
    QUANTILES,
    Spectrum,
    centred,
    distribution,
    image_spectrum,
    largest_logits,
    logit_margins,
)
from worker.trainer.report.measurements import mean_and_deviation
from worker.trainer.report.training_sets import TrainingSet

_Z95 = 1.959963984540054
N_HISTOGRAM_BINS = 40
_OF_LOGITS = {"largest_logit": largest_logits, "margin": logit_margins}
_TOLD = ("mean", "deviation", "coefficient_of_variation")


def logit_analysis(
    groups: Sequence[TrainingSet], logits: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Tell how largest logits and margins on test are spread, all training sets on the same axes.

    Args:
        groups: the training sets.
        logits: of each model on the test images, float32 (N, K), as trained (T = 1).

    Returns:
        One dict a training set: training_set_label, and for largest_logit and margin the mean,
        deviation and coefficient of variation (each mean and deviation over networks),
        quantiles, and a histogram (edges common to all training sets, counts) of all networks'
        predictions pooled. Empty where there is but one class.
    """
    if any(one.shape[1] < 2 for one in logits.values()):
        return []
    found: list[dict[str, Any]] = [{"training_set_label": group.label} for group in groups]
    for name, of_logits in _OF_LOGITS.items():
        values = [[of_logits(logits[model.id]) for model in group.models] for group in groups]
        edges = _edges(torch.cat([one for own in values for one in own]))
        for analysis, own in zip(found, values, strict=True):
            analysis[name] = _spread(own, edges)
    return found


def _edges(values: Tensor) -> Tensor:
    low, high = float(values.min()), float(values.max())
    return torch.linspace(low, high if high > low else low + 1, N_HISTOGRAM_BINS + 1).double()


def _spread(of_networks: Sequence[Tensor], edges: Tensor) -> dict[str, Any]:
    each = [distribution(values, edges) for values in of_networks]
    pooled = distribution(torch.cat(list(of_networks)), edges)
    return {
        **{name: mean_and_deviation([getattr(one, name) for one in each]) for name in _TOLD},
        "quantiles": dict(zip(map(str, QUANTILES), pooled.quantiles, strict=True)),
        "edges": edges.tolist(),
        "counts": list(pooled.counts),
    }


def spectrum_analysis(label: str, distilled: Tensor, real_sets: Sequence[Tensor]) -> dict[str, Any]:
    """Put the spectrum of a distilled set beside those of random real sets of its size.

    Args:
        label: of the training set.
        distilled: (M, C, H, W), network-input space.
        real_sets: likewise, each drawn anew.

    Returns:
        label, n_images, n_real_sets, and for "as_they_are" and "centred" the distilled set's
        values and the real sets' mean, lowest and highest: effective_rank, relative_values
        (s_i / s_1) and cumulative_energy.
    """
    return {
        "training_set_label": label,
        "n_images": len(distilled),
        "n_real_sets": len(real_sets),
        "as_they_are": _beside(distilled, real_sets),
        "centred": _beside(centred(distilled), [centred(images) for images in real_sets]),
    }


def _beside(distilled: Tensor, real_sets: Sequence[Tensor]) -> dict[str, Any]:
    own = _described(image_spectrum(distilled))
    real = [_described(image_spectrum(images)) for images in real_sets]
    ranks = [one["effective_rank"] for one in real]
    return {
        "distilled": own,
        "real": {
            "effective_rank": mean_and_deviation(ranks),
            **{
                name: _band([one[name] for one in real])
                for name in ("relative_values", "cumulative_energy")
            },
        },
    }


def _described(spectrum: Spectrum) -> dict[str, Any]:
    fields = dataclasses.asdict(spectrum)
    values = fields.pop("singular_values")
    first = values[0] or 1.0
    return {**fields, "relative_values": [value / first for value in values]}


def _band(curves: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    columns = list(zip(*curves, strict=True))
    return {
        "mean": [sum(column) / len(column) for column in columns],
        "lowest": [min(column) for column in columns],
        "highest": [max(column) for column in columns],
    }


def logit_words(analyses: Sequence[Mapping[str, Any]]) -> str:
    """Say whether the first training set's largest logits are more concentrated than the last's.

    The training sets come distilled first and full last, so that it is the paper's comparison
    where both are there.
    """
    if len(analyses) < 2:
        return "One training set alone: there are no other logits to put beside these."
    first, last = (analyses[k]["largest_logit"]["coefficient_of_variation"] for k in (0, -1))
    names = [analyses[k]["training_set_label"] for k in (0, -1)]
    if first["mean"] is None or last["mean"] is None:
        return "Some largest logits are below 0 on average: their variation has no meaning."
    shown = f"{first['mean']:.2f} of their mean, against {last['mean']:.2f}"
    lead = f"Largest logits after training on {names[0]} deviate by {shown} after {names[1]}: "
    if first["std"] is None or last["std"] is None:
        return f"{lead}one network says nothing about others."
    noise = ((first["std"] ** 2 + last["std"] ** 2) / 2) ** 0.5
    if abs(first["mean"] - last["mean"]) <= _Z95 * noise:
        return f"{lead}no more of a difference than between networks of one training set."
    if first["mean"] < last["mean"]:
        return f"{lead}more concentrated, as the paper says of distilled sets."
    return f"{lead}less concentrated, against what the paper says of distilled sets."


def spectrum_words(analyses: Sequence[Mapping[str, Any]]) -> str:
    """Say whether each distilled set's spectrum is more concentrated than random real sets'."""
    return " ".join(_rank_words(one) for one in analyses)


def _rank_words(analysis: Mapping[str, Any]) -> str:
    beside = analysis["centred"]
    own, real = beside["distilled"]["effective_rank"], beside["real"]["effective_rank"]
    deviation = 0.0 if real["std"] is None else real["std"]
    lead = (
        f"About the mean image the effective rank of {analysis['training_set_label']} is "
        f"{own:.1f}, that of as many random real images {real['mean']:.1f} ± {deviation:.1f}"
    )
    if abs(own - real["mean"]) <= 2 * deviation:
        return f"{lead}: no telling them apart."
    if own < real["mean"]:
        return f"{lead}: more concentrated, as the paper says of distilled sets."
    return f"{lead}: richer, against what the paper says of distilled sets."
