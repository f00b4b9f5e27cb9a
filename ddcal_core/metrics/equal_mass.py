"""Calibration errors on bins of equal mass.

Where a bin ends depends on all confidences, so that no fixed number of sums is enough: unlike the
errors on bins of equal width these need every confidence at once, and shards have to be joined
before. The order of samples does not matter: equal confidences always share a bin.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.metrics.binned import N_BINS
from ddcal_core.metrics.scores import confidence_and_hits


@dataclass(frozen=True, eq=False)
class _MassBins:
    """Counts, mean confidences and accuracies, float64, of the bins that are not empty."""

    count: Tensor
    confidence: Tensor
    accuracy: Tensor


def adaptive_calibration_error(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> float:
    """The ECE on bins of equal mass instead of equal width.

    Bin m ends with the confidence of rank ceil(m N / n_bins), and with all that equal it: ties
    are kept together, so that bins can be larger than N / n_bins, and fewer.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal mass.

    Returns:
        In [0, 1].

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.

    Source:
        Nguyen and O'Connor, EMNLP 2015; Nixon et al., CVPR workshops 2019.
    """
    bins = _mass_bins(probabilities, labels, n_bins)
    return float((bins.count * (bins.accuracy - bins.confidence).abs()).sum()) / len(labels)


def debiased_calibration_error(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> float:
    """The l2 calibration error, less what finitely many labels add to it.

    The root of sum_m n_m / N [(acc_m - conf_m)^2 - acc_m (1 - acc_m) / (n_m - 1)], 0 where that
    is negative. Bins of one sample add 0.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal mass, ties kept together.

    Returns:
        In [0, 1].

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.

    Source:
        Kumar, Liang and Ma, NeurIPS 2019.
    """
    bins = _mass_bins(probabilities, labels, n_bins)
    noise = bins.accuracy * (1 - bins.accuracy) / (bins.count - 1).clamp_min(1)
    squares = (bins.accuracy - bins.confidence).square() - noise
    squares = torch.where(bins.count > 1, squares, 0.0)
    return math.sqrt(max(0.0, float((bins.count * squares).sum()) / len(labels)))


def _mass_bins(probabilities: Tensor, labels: Tensor, n_bins: int) -> _MassBins:
    if n_bins < 1:
        raise ValueError(f"wanted at least one bin, got {n_bins}")
    confidence, is_right = confidence_and_hits(probabilities, labels)
    n = len(labels)
    # In whole numbers: m * n / n_bins in floating point may round across a rank.
    last_ranks = [max(0, -(-m * n // n_bins) - 1) for m in range(1, n_bins)]
    edges = confidence.sort().values[last_ranks]
    index = torch.searchsorted(edges, confidence, side="left")
    count = torch.bincount(index, minlength=n_bins)
    # Ties that span several ranks leave the bins between them empty.
    is_filled = count > 0
    mass = count[is_filled].double()
    return _MassBins(
        count=mass,
        confidence=torch.bincount(index, confidence, n_bins)[is_filled] / mass,
        accuracy=torch.bincount(index, is_right.double(), n_bins)[is_filled] / mass,
    )
