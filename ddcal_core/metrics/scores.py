"""Metrics that need no bins, and the checks of every metric's input."""

import math

import torch
from torch import Tensor
from torch.nn import functional

Z95 = 1.959963984540054
"""Standard deviations that 95 % of a normal distribution lie within."""

_SUM_TOLERANCE = 1e-3


def check_scores(scores: Tensor, labels: Tensor) -> None:
    """Check that scores and labels are valid and of the same samples.

    Args:
        scores: logits or probabilities (N, K), N, K >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.

    Raises:
        ValueError: says what was wanted and what was got.
    """
    if scores.ndim != 2 or scores.numel() == 0 or not scores.is_floating_point():
        raise ValueError(
            "wanted floating-point scores (N, K) with N, K >= 1, got "
            f"{scores.dtype} of shape {tuple(scores.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"wanted labels int64 of shape ({len(scores)},), got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if not _is_finite(scores):
        raise ValueError("wanted finite scores, got NaN or infinite ones")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= scores.shape[1]:
        raise ValueError(f"wanted labels 0 to {scores.shape[1] - 1}, got {lowest} to {highest}")


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of samples whose first largest score is the label's.

    Args:
        scores: logits or probabilities (N, K), N >= 1.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        In [0, 1].

    Raises:
        ValueError: empty, misshapen, not finite, or a label out of range.
    """
    check_scores(scores, labels)
    return float((scores.argmax(1) == labels).double().mean())


def probabilities_at(logits: Tensor, temperature: float) -> Tensor:
    """softmax(z / T), in float64, for logits and temperatures of any size.

    Args:
        logits: (N, K), finite.
        temperature: T > 0.

    Returns:
        (N, K), rows summing to 1.
    """
    return torch.softmax(_tempered(logits, temperature), 1)


def negative_log_likelihood(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """Mean of logsumexp(z / T) - z_y / T, in nats.

    From logits: probabilities that have rounded to 0 would make it infinite.

    Args:
        logits: (N, K), N >= 1.
        labels: int64 (N,), 0 to K - 1.
        temperature: T > 0.

    Returns:
        At least 0.

    Raises:
        ValueError: empty, misshapen, not finite, a label out of range, or T not in (0, inf).
    """
    check_scores(logits, labels)
    if not 0 < temperature < math.inf:
        raise ValueError(f"wanted a finite temperature above 0, got {temperature}")
    return float(functional.cross_entropy(_tempered(logits, temperature), labels))


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over samples of sum_k (p_k - [k = y])^2, summed over all classes.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        In [0, 2].

    Raises:
        ValueError: empty, misshapen, no probabilities, or a label out of range.
    """
    check_probabilities(probabilities, labels)
    wide = probabilities.double()
    target = functional.one_hot(labels, wide.shape[1])
    return float((wide - target).square().sum(1).mean())


def signed_calibration_gap(probabilities: Tensor, labels: Tensor) -> float:
    """Mean confidence - accuracy: above 0 over-confident, below 0 under-confident.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        In [-1, 1].

    Raises:
        ValueError: empty, misshapen, no probabilities, or a label out of range.
    """
    confidence, is_right = confidence_and_hits(probabilities, labels)
    return float(confidence.mean() - is_right.double().mean())


def confidence_and_hits(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability of each sample, and whether the first class that has it is right.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        Confidences float64 (N,), above 1 by as much as rows may sum to more (see
        `check_probabilities`), and hits bool (N,), on their device.

    Raises:
        ValueError: empty, misshapen, no probabilities, or a label out of range.
    """
    check_probabilities(probabilities, labels)
    return probabilities.amax(1).double(), probabilities.argmax(1) == labels


def check_probabilities(probabilities: Tensor, labels: Tensor) -> None:
    """Check that probabilities and labels are valid and of the same samples.

    Args:
        probabilities: (N, K), N >= 1, not negative, rows summing to 1 up to 0.01.
        labels: int64 (N,), 0 to K - 1.

    Raises:
        ValueError: says what was wanted and what was got.
    """
    check_scores(probabilities, labels)
    total = probabilities.sum(1)
    if float(probabilities.min()) < 0 or float((total - 1).abs().max()) > 1e-2:
        raise ValueError(
            "wanted probabilities, non-negative with rows summing to 1; got values from "
            f"{float(probabilities.min())} and sums from {float(total.min())} to "
            f"{float(total.max())}"
        )


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Check that logits and labels are valid and of the same samples.

    Args:
        logits: (N, K), N >= 1, floating point, finite, not probabilities.
        labels: int64 (N,), 0 to K - 1.

    Raises:
        ValueError: what `check_scores` refuses, or every row is in [0, 1] and sums to 1.
    """
    check_scores(logits, labels)
    low, high = torch.aminmax(logits)
    if float(low) < 0 or float(high) > 1 + _SUM_TOLERANCE:
        return
    if float((logits.double().sum(1) - 1).abs().max()) < _SUM_TOLERANCE:
        raise ValueError(
            "wanted logits, got what looks like probabilities: every row is in [0, 1] and "
            "sums to 1; pass the network's output before the softmax, or log probabilities"
        )


def check_classes(logits: Tensor, n_classes: int) -> None:
    """Check that logits are of as many classes as something was fitted on.

    Args:
        logits: (N, K), finite.
        n_classes: K as it was fitted.

    Raises:
        ValueError: another shape, NaN or infinite.
    """
    if logits.ndim != 2 or logits.shape[1] != n_classes:
        raise ValueError(f"wanted logits (N, {n_classes}), got shape {tuple(logits.shape)}")
    if not bool(logits.isfinite().all()):
        raise ValueError("wanted finite logits, got NaN or infinite ones")


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Give the 95 % interval of a share, such as an accuracy, seen in n independent trials.

    Args:
        share: in [0, 1]; the interval has a width at 0 and 1, too.
        n: above 0.

    Source:
        Wilson (1927).
    """
    center = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    # At a share of 0 or 1 rounding can carry an end beyond it.
    return max(0.0, center - half), min(1.0, center + half)


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    """(z - max z) / T in float64: what leaves float64 is -inf, which softmax takes."""
    wide = logits.double()
    return (wide - wide.amax(1, keepdim=True)) / temperature


def _is_finite(scores: Tensor) -> bool:
    # NaN and infinities survive a sum, which takes one pass and no memory. A sum that is not
    # finite may have overflowed: only then every number is looked at.
    return math.isfinite(float(scores.sum())) or bool(scores.isfinite().all())
