"""The two causes of over-confidence that the paper gives, measured: logits and spectra.

Source: arXiv 2307.12463. A network trained on a distilled set (DDNN) is said to have more
concentrated largest logits than one trained on the full data (FDNN), and the distilled set's
singular values to be more concentrated than those of real images.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ddcal_core.formats.report_analyses import (
    Band,
    LogitAnalysis,
    RealSpectra,
    SetSpectrum,
    SpectraBeside,
    SpectrumAnalysis,
    Spread,
)
from ddcal_core.metrics import Z95
from ddcal_core.metrics.spectrum import (
    QUANTILES,
    centred,
    distribution,
    image_spectrum,
    largest_logits,
    logit_margins,
)
from worker.trainer.report.measurements import mean_and_deviation, open_mean_and_deviation
from worker.trainer.report.training_sets import TrainingSet

N_HISTOGRAM_BINS = 40


def logit_analysis(
    groups: Sequence[TrainingSet], logits: Mapping[str, Tensor]
) -> list[LogitAnalysis]:
    """Tell how largest logits and margins on test are spread, all training sets on the same axes.

    Args:
        groups: the training sets.
        logits: of each model on the test images, float32 (N, K), as trained (T = 1).

    Returns:
        One a training set; none at all where there is but one class.
    """
    if any(one.shape[1] < 2 for one in logits.values()):
        return []
    largest = _spreads(groups, logits, largest_logits)
    margins = _spreads(groups, logits, logit_margins)
    return [
        LogitAnalysis(training_set_label=group.label, largest_logit=logit, margin=margin)
        for group, logit, margin in zip(groups, largest, margins, strict=True)
    ]


def _spreads(
    groups: Sequence[TrainingSet],
    logits: Mapping[str, Tensor],
    of_logits: Callable[[Tensor], Tensor],
) -> list[Spread]:
    values = [[of_logits(logits[model.id]) for model in group.models] for group in groups]
    edges = _edges(torch.cat([one for own in values for one in own]))
    return [_spread(own, edges) for own in values]


def _edges(values: Tensor) -> Tensor:
    low, high = float(values.min()), float(values.max())
    # Bins need a width also where all values are equal.
    return torch.linspace(low, high if high > low else low + 1, N_HISTOGRAM_BINS + 1).double()


def _spread(of_networks: Sequence[Tensor], edges: Tensor) -> Spread:
    each = [distribution(values, edges) for values in of_networks]
    pooled = distribution(torch.cat(list(of_networks)), edges)
    return Spread(
        mean=mean_and_deviation([one.mean for one in each]),
        deviation=mean_and_deviation([one.deviation for one in each]),
        coefficient_of_variation=open_mean_and_deviation(
            [one.coefficient_of_variation for one in each]
        ),
        quantiles=dict(zip(map(str, QUANTILES), pooled.quantiles, strict=True)),
        edges=tuple(edges.tolist()),
        counts=pooled.counts,
    )


def spectrum_analysis(
    label: str, distilled: Tensor, real_sets: Sequence[Tensor]
) -> SpectrumAnalysis:
    """Put the spectrum of a distilled set beside those of random real sets of its size.

    Args:
        label: of the training set.
        distilled: (M, C, H, W), network-input space.
        real_sets: likewise, each drawn anew.
    """
    return SpectrumAnalysis(
        training_set_label=label,
        n_images=len(distilled),
        n_real_sets=len(real_sets),
        as_they_are=_beside(distilled, real_sets),
        centred=_beside(centred(distilled), [centred(images) for images in real_sets]),
    )


def _beside(distilled: Tensor, real_sets: Sequence[Tensor]) -> SpectraBeside:
    real = [_spectrum(images) for images in real_sets]
    return SpectraBeside(
        distilled=_spectrum(distilled),
        real=RealSpectra(
            effective_rank=mean_and_deviation([one.effective_rank for one in real]),
            effective_rank_of_values=mean_and_deviation(
                [one.effective_rank_of_values or 0.0 for one in real]
            ),
            relative_values=_band([one.relative_values for one in real]),
            cumulative_energy=_band([one.cumulative_energy for one in real]),
        ),
    )


def _spectrum(images: Tensor) -> SetSpectrum:
    found = image_spectrum(images)
    first = found.singular_values[0] or 1.0  # images that are all 0 have no largest value
    return SetSpectrum(
        cumulative_energy=found.cumulative_energy,
        effective_rank=found.effective_rank,
        effective_rank_of_values=found.effective_rank_of_values,
        relative_values=tuple(value / first for value in found.singular_values),
    )


def _band(curves: Sequence[Sequence[float]]) -> Band:
    columns = list(zip(*curves, strict=True))
    return Band(
        mean=tuple(sum(column) / len(column) for column in columns),
        lowest=tuple(min(column) for column in columns),
        highest=tuple(max(column) for column in columns),
    )


def logit_words(analyses: Sequence[LogitAnalysis]) -> str:
    """Say whether the first training set's largest logits are more concentrated than the last's.

    The training sets come distilled first and full last, so that it is the paper's comparison
    where both are there.
    """
    if len(analyses) < 2:
        return "One training set alone: there are no other logits to put beside these."
    first, last = (analyses[k].largest_logit.coefficient_of_variation for k in (0, -1))
    names = [analyses[k].training_set_label for k in (0, -1)]
    if first.mean is None or last.mean is None:
        return "Some largest logits are below 0 on average: their variation has no meaning."
    shown = f"{first.mean:.2f} of their mean, against {last.mean:.2f}"
    lead = f"Largest logits after training on {names[0]} deviate by {shown} after {names[1]}: "
    if first.std is None or last.std is None:
        return f"{lead}one network says nothing about others."
    noise = ((first.std**2 + last.std**2) / 2) ** 0.5
    # The spread between networks, not the error of their mean: the words speak of networks.
    if abs(first.mean - last.mean) <= Z95 * noise:
        return f"{lead}no more of a difference than between networks of one training set."
    if first.mean < last.mean:
        return f"{lead}more concentrated, as the paper says of distilled sets."
    return f"{lead}less concentrated, against what the paper says of distilled sets."


def spectrum_words(analyses: Sequence[SpectrumAnalysis]) -> str:
    """Say whether each distilled set's spectrum is more concentrated than random real sets'."""
    return " ".join(_rank_words(one) for one in analyses)


def _rank_words(analysis: SpectrumAnalysis) -> str:
    beside = analysis.centred
    own, real = beside.distilled.effective_rank, beside.real.effective_rank
    deviation = real.std or 0.0
    lead = (
        f"About the mean image the effective rank of {analysis.training_set_label} is "
        f"{own:.1f}, that of as many random real images {real.mean:.1f} ± {deviation:.1f}"
    )
    if abs(own - real.mean) <= 2 * deviation:
        return f"{lead}: no telling them apart."
    if own < real.mean:
        return f"{lead}: more concentrated, as the paper says of distilled sets."
    return f"{lead}: richer, against what the paper says of distilled sets."
