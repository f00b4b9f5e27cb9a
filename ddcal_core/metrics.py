"""How good and how calibrated predictions are.

Confidence is the largest probability, the prediction the first class that has it. Bins of
confidence are (a, b] of equal width on [0, 1], 0 in the first; sums are float64. A value depends
on its input through sums over samples only, so not on their order.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

N_BINS = 15
_DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class ReliabilityBins:
    """A reliability diagram of M bins.

    Attributes:
        edges: M + 1 of them, 0 to 1; bin m is (edges[m], edges[m + 1]], the first with 0.
        count: samples in each bin.
        confidence: mean confidence in each bin, None where it is empty.
        accuracy: share of right predictions in each bin, None where it is empty.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class NullLevel:
    """The ECE of a perfectly calibrated model, which is not 0 on finitely many samples.

    Attributes:
        mean: over the draws.
        p95: its 95 % point, linearly interpolated.
    """

    mean: float
    p95: float


def check_scores(scores: Tensor, labels: Tensor) -> None:
    """Refuse what cannot be scores and labels of the same samples.

    Args:
        scores: logits or probabilities (N, K), N, K >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.

    Raises:
        ValueError: says what was wanted and what was got.
    """
    if scores.ndim != 2 or scores.numel() == 0 or not scores.is_floating_point():
        raise ValueError(
            "floating-point scores (N, K) with N, K >= 1 are wanted, got "
            f"{scores.dtype} of shape {tuple(scores.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"labels int64 of shape ({len(scores)},) are wanted, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if not bool(scores.isfinite().all()):
        raise ValueError("finite scores are wanted, got NaN or infinite ones")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= scores.shape[1]:
        raise ValueError(
            f"labels in 0 to {scores.shape[1] - 1} are wanted, got {lowest} to {highest}"
        )


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
        raise ValueError(f"a temperature above 0 and finite is wanted, got {temperature}")
    return float(functional.cross_entropy(logits.double() / temperature, labels))


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
    _check_probabilities(probabilities, labels)
    wide = probabilities.double()
    target = functional.one_hot(labels, wide.shape[1])
    return float((wide - target).square().sum(1).mean())


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
    confidence, is_right = _confidence_and_hits(probabilities, labels)
    _, confidence_sum, right_sum = _bin_sums(confidence, is_right, n_bins)
    return float((right_sum - confidence_sum).abs().sum()) / len(labels)


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
    confidence, is_right = _confidence_and_hits(probabilities, labels)
    return float(confidence.mean() - is_right.mean())


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
    confidence, is_right = _confidence_and_hits(probabilities, labels)
    count, confidence_sum, right_sum = _bin_sums(confidence, is_right, n_bins)
    return ReliabilityBins(
        edges=tuple(_bin_edges(n_bins).tolist()),
        count=tuple(int(n) for n in count.tolist()),
        confidence=_means(confidence_sum, count),
        accuracy=_means(right_sum, count),
    )


def null_level(
    confidences: Tensor,
    n_bins: int = N_BINS,
    *,
    generator: torch.Generator,
    n_draws: int = 200,
) -> NullLevel:
    """The ECE that a perfectly calibrated model with these confidences would show.

    Whether each prediction is right is drawn anew, with its confidence as the chance. An ECE at
    this level says nothing against a model.

    Args:
        confidences: (N,), N >= 1, in [0, 1].
        n_bins: bins of equal width.
        generator: a CPU generator.
        n_draws: draws of all N samples.

    Returns:
        Mean and 95 % point over the draws.

    Raises:
        ValueError: empty, misshapen, outside [0, 1], no bins, or no draws.
    """
    if confidences.ndim != 1 or len(confidences) == 0 or n_draws < 1:
        raise ValueError(
            "at least one draw of confidences (N,), N >= 1, is wanted, got "
            f"{n_draws} draws of shape {tuple(confidences.shape)}"
        )
    if not bool(((confidences >= 0) & (confidences <= 1)).all()):
        raise ValueError("confidences have to lie in [0, 1]")
    wide = confidences.double().cpu()
    in_bin = functional.one_hot(_bin_index(wide, n_bins), n_bins).double()
    expected = wide @ in_bin
    errors: list[Tensor] = []
    for n_rows in _rows_at_once(n_draws, len(wide)):
        drawn = torch.rand((n_rows, len(wide)), generator=generator) < wide
        errors.append((drawn.double() @ in_bin - expected).abs().sum(1) / len(wide))
    all_errors = torch.cat(errors)
    return NullLevel(float(all_errors.mean()), float(all_errors.quantile(0.95)))


def _rows_at_once(n_rows: int, n_columns: int) -> list[int]:
    most = max(1, _DRAWN_AT_ONCE // n_columns)
    return [min(most, n_rows - start) for start in range(0, n_rows, most)]


def _bin_edges(n_bins: int) -> Tensor:
    if n_bins < 1:
        raise ValueError(f"at least one bin is wanted, got {n_bins}")
    # numpy's linspace, not torch's: they differ in the last bit, and peers use numpy's.
    return torch.from_numpy(np.linspace(0.0, 1.0, n_bins + 1))


def _bin_index(confidence: Tensor, n_bins: int) -> Tensor:
    inner = _bin_edges(n_bins)[1:-1].to(confidence.device)
    return torch.searchsorted(inner, confidence, side="left")


def _bin_sums(confidence: Tensor, is_right: Tensor, n_bins: int) -> tuple[Tensor, Tensor, Tensor]:
    index = _bin_index(confidence, n_bins)
    return (
        torch.bincount(index, minlength=n_bins),
        torch.bincount(index, weights=confidence, minlength=n_bins),
        torch.bincount(index, weights=is_right, minlength=n_bins),
    )


def _means(sums: Tensor, count: Tensor) -> tuple[float | None, ...]:
    return tuple(
        total / n if n else None for total, n in zip(sums.tolist(), count.tolist(), strict=True)
    )


def _confidence_and_hits(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    _check_probabilities(probabilities, labels)
    confidence = probabilities.amax(1).double()
    return confidence, (probabilities.argmax(1) == labels).double()


def _check_probabilities(probabilities: Tensor, labels: Tensor) -> None:
    check_scores(probabilities, labels)
    total = probabilities.double().sum(1)
    if float(probabilities.min()) < 0 or float((total - 1).abs().max()) > 1e-2:
        raise ValueError(
            "probabilities are wanted, not negative and rows summing to 1; got values from "
            f"{float(probabilities.min())} and sums from {float(total.min())} to "
            f"{float(total.max())}"
        )
