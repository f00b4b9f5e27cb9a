"""Calibration errors on bins of equal width.

Everything is read from the sums in the bins (`binned`), so that shards and streams can be joined
before an error is taken.
"""

import torch
from torch import Tensor

from ddcal_core.metrics.binned import (
    N_BINS,
    BinSums,
    LargestGap,
    ReliabilityBins,
    sums_of_confidences,
)
from ddcal_core.metrics.class_major import exponential_of_multiple, in_float64, row_chunks
from ddcal_core.metrics.scores import check_scores, confidence_and_hits

_LEAST_TEMPERATURE = 1e-300  # below it 1 / T overflows; no logits differ by so little


def bin_sums(probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS) -> BinSums:
    """The sums of these samples by their confidence.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.

    Returns:
        Sums to add to others, or to read errors from.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.
    """
    confidence, is_right = confidence_and_hits(probabilities, labels)
    return sums_of_confidences(confidence, is_right, n_bins)


def bin_sums_of_logits(
    logits: Tensor, labels: Tensor, n_bins: int = N_BINS, *, temperature: float = 1.0
) -> BinSums:
    """The sums under softmax(z / T), without making the probabilities.

    The softmax is float64 whatever the logits are, a chunk at a time; predictions are the first
    largest logits, also where probabilities would round to a tie.

    Args:
        logits: (N, K), N >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.
        temperature: T > 0.

    Returns:
        Sums to add to others, or to read errors from.

    Raises:
        ValueError: empty, misshapen, not finite, a label out of range, no bins, or T not in
            (0, inf).
    """
    check_scores(logits, labels)
    if not 0 < temperature < float("inf"):
        raise ValueError(f"wanted a finite temperature above 0, got {temperature}")
    confidence = torch.empty(len(labels), dtype=torch.float64, device=logits.device)
    is_right = torch.empty(len(labels), dtype=torch.bool, device=logits.device)
    for part in row_chunks(logits):
        wide, classes = in_float64(logits[part])
        wide -= wide.amax(classes, keepdim=True)
        # From the logits, before T: probabilities may round to ties that the logits do not have.
        is_right[part] = _is_first_largest(wide, labels[part], classes)
        weight = exponential_of_multiple(wide, 1 / max(temperature, _LEAST_TEMPERATURE))
        # The largest logit is 0 now and its weight 1, so no (n, K) has to be divided.
        confidence[part] = weight.sum(classes).reciprocal_()
    return sums_of_confidences(confidence, is_right, n_bins)


def expected_calibration_error(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> float:
    """ECE: sum over bins of n_m / N |accuracy_m - mean confidence_m|.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.

    Returns:
        In [0, 1], a fraction, not percent.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.

    Source:
        Naeini et al., AAAI 2015; Guo et al., ICML 2017.
    """
    return bin_sums(probabilities, labels, n_bins).expected_calibration_error


def root_mean_square_calibration_error(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> float:
    """RMSCE: the root of the sum over bins of n_m / N (accuracy_m - mean confidence_m)^2.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.

    Returns:
        In [0, 1]; never below the ECE.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.
    """
    return bin_sums(probabilities, labels, n_bins).root_mean_square_calibration_error


def maximum_calibration_error(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> LargestGap:
    """MCE: the largest |accuracy_m - mean confidence_m| of a bin that is not empty.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.

    Returns:
        The value with the bin and its count, as one sample can set it.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.

    Source:
        Naeini et al., AAAI 2015.
    """
    return bin_sums(probabilities, labels, n_bins).largest_gap


def reliability_bins(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> ReliabilityBins:
    """Count, mean confidence and accuracy of each bin of confidence.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.

    Returns:
        The bins of the ECE.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.
    """
    return bin_sums(probabilities, labels, n_bins).reliability_bins


def _is_first_largest(shifted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Whether the label's entry is the first 0, the maximum, along the dimension of classes."""
    is_right = shifted.gather(classes, labels.unsqueeze(classes)).squeeze(classes) == 0
    # No entry is above 0, so that the signs sum to minus the number of those that are not largest.
    n_largest = shifted.numel() + int(shifted.sign().sum())
    if n_largest == len(labels):
        return is_right  # no ties
    # argmax gives the first of several; it is slow, and ties are rare.
    return is_right & (shifted.argmax(classes) == labels)
