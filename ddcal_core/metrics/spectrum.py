"""Spectra of image sets; largest logits and margins of networks.

The two causes that arXiv 2307.12463 gives for over-confidence on distilled sets, as numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Spectrum:
    """The singular values of a matrix with one flattened image per row.

    Attributes:
        singular_values: min(N, D) of them, largest first.
        cumulative_energy: share of the sum of squares that the first 1, 2, ... hold, to 1; all 0
            where every value is 0.
        effective_rank: exp of the entropy of the squares divided by their sum: n where n equal
            values hold everything; 0 where every value is 0.
        effective_rank_of_values: likewise of the values themselves, not of their squares: larger,
            as small values count for more.
    """

    singular_values: tuple[float, ...]
    cumulative_energy: tuple[float, ...]
    effective_rank: float
    effective_rank_of_values: float


@dataclass(frozen=True)
class Distribution:
    """How numbers are spread.

    Attributes:
        mean: of them.
        deviation: with n - 1; 0 for one number.
        coefficient_of_variation: deviation over mean, free of scale; None where the mean is not
            above 0.
        quantiles: at `QUANTILES`, linearly interpolated.
        counts: numbers between consecutive edges, the lower one included; the last bin has its
            upper edge too.
    """

    mean: float
    deviation: float
    coefficient_of_variation: float | None
    quantiles: tuple[float, ...]
    counts: tuple[int, ...]


def image_spectrum(images: Tensor) -> Spectrum:
    """The spectrum of a set of images, as they are.

    Args:
        images: (N, ...), N >= 1, floating point, finite; for the spectrum about the mean image
            give `centred(images)`. The decomposition runs in float64 on the CPU.

    Raises:
        ValueError: no images, or NaN or infinite pixels.

    Source:
        Roy and Vetterli, EUSIPCO 2007, define the effective rank on singular values divided by
        their sum (natural logarithm), which is `effective_rank_of_values`; `effective_rank` is on
        their squares, so that it goes with the energy.
    """
    if images.numel() == 0 or not bool(images.isfinite().all()):
        raise ValueError(
            f"wanted at least one image of finite pixels, got shape {tuple(images.shape)}"
        )
    values = torch.linalg.svdvals(images.double().flatten(1).cpu())
    energy = values.square()
    total = float(energy.sum())
    if total == 0:
        zeros = (0.0,) * len(values)
        return Spectrum(zeros, zeros, 0.0, 0.0)
    share = energy / total
    cumulative = share.cumsum(0).clamp(max=1)  # rounding can carry the last ones above 1
    return Spectrum(
        tuple(values.tolist()),
        tuple(cumulative.tolist()),
        _effective_number(share),
        _effective_number(values / values.sum()),
    )


def _effective_number(shares: Tensor) -> float:
    """Exp of the entropy of shares that add up to 1, in nats."""
    # xlogy: directions without energy add 0, where 0 log 0 would be NaN.
    return math.exp(-float(torch.special.xlogy(shares, shares).sum()))


def centred(images: Tensor) -> Tensor:
    """Images less their mean image.

    Args:
        images: (N, ...), N >= 1, of any real dtype.

    Returns:
        float64, of the same shape, on the images' device.
    """
    wide = images.double()
    return wide - wide.mean(0)


def largest_logits(logits: Tensor) -> Tensor:
    """The largest logit of each row: float64 (N,) of (N, K)."""
    return logits.double().amax(1)


def logit_margins(logits: Tensor) -> Tensor:
    """How far the largest logit of each row stands above the second: float64 (N,) of (N, K).

    Raises:
        ValueError: there is only one class.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"wanted logits (N, K) of at least two classes, got {tuple(logits.shape)}")
    first, second = logits.double().topk(2, 1).values.unbind(1)
    return first - second


def distribution(values: Tensor, edges: Tensor) -> Distribution:
    """Mean, deviation, quantiles and histogram of numbers.

    Args:
        values: (N,), N >= 1, finite, of any real dtype and device.
        edges: (M + 1,), M >= 1, ascending, on the CPU. Bin m is [edges[m], edges[m + 1]); values
            outside are counted in the first or last bin.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    if values.ndim != 1 or len(values) == 0 or not bool(values.isfinite().all()):
        raise ValueError(
            f"wanted finite numbers (N,), N >= 1, got values of shape {tuple(values.shape)}"
        )
    wide = values.double().cpu()
    index = torch.searchsorted(edges.double()[1:-1], wide, side="right")
    mean = float(wide.mean())
    deviation = float(wide.std()) if len(wide) > 1 else 0.0
    quantiles = torch.quantile(wide, torch.tensor(QUANTILES, dtype=torch.float64))
    return Distribution(
        mean=mean,
        deviation=deviation,
        coefficient_of_variation=deviation / mean if mean > 0 else None,
        quantiles=tuple(quantiles.tolist()),
        counts=tuple(torch.bincount(index, minlength=len(edges) - 1).tolist()),
    )
