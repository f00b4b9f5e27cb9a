"""The sampling error of an ECE: its level under perfect calibration, and an interval."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.metrics.binned import N_BINS, bin_index
from ddcal_core.metrics.scores import confidence_and_hits

_DRAWN_AT_ONCE = 4_000_000  # numbers: 32 MB a float64 temporary, unless N alone is more


@dataclass(frozen=True)
class NullLevel:
    """The ECE of a perfectly calibrated model, which is not 0 on finitely many samples.

    Attributes:
        mean: over the draws.
        p95: its 95 % point, linearly interpolated.
    """

    mean: float
    p95: float


@dataclass(frozen=True)
class EceInterval:
    """A confidence interval for the ECE of the whole population.

    Attributes:
        low: in [0, 1].
        high: in [low, 1].
        level: nominal coverage, the share of such intervals that hold the true value.
    """

    low: float
    high: float
    level: float


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
            "wanted at least one draw of confidences (N,), N >= 1, got "
            f"{n_draws} draws of shape {tuple(confidences.shape)}"
        )
    if not bool(((confidences >= 0) & (confidences <= 1)).all()):
        raise ValueError("wanted confidences in [0, 1], got some outside")
    wide = confidences.double().cpu()
    errors = torch.cat(list(_null_errors(wide, n_bins, n_draws, generator)))
    return NullLevel(float(errors.mean()), float(errors.quantile(0.95)))


def ece_interval(
    probabilities: Tensor,
    labels: Tensor,
    n_bins: int = N_BINS,
    *,
    generator: torch.Generator,
    n_draws: int = 1000,
    level: float = 0.95,
) -> EceInterval:
    """An interval for the binned ECE: basic bootstrap, down to 0 unless calibration is refuted.

    An ECE is too high on average, and one of a resample is too high once more. The percentile
    bootstrap adds that up and leaves 0 out even for a calibrated model; the basic (pivotal)
    bootstrap, [2 e - q_high, 2 e - q_low] with the quantiles q over resamples, takes it away.
    Near 0, where no bootstrap holds, the lower end is that of a test: it is 0 unless the ECE is
    above the (1 + level) / 2 point of a calibrated model's (see `null_level`). Simulated 95 %
    intervals held the truth in 88 to 97 % of cases at N = 300 and 2,000. Time goes with N times
    n_draws.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.
        generator: a CPU generator.
        n_draws: resamples of all N samples.
        level: nominal coverage, in (0, 1).

    Returns:
        The interval.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, no bins, no draws,
            or a level outside (0, 1).

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 5.2.
    """
    if n_draws < 1 or not 0 < level < 1:
        raise ValueError(
            f"wanted at least one draw and a level in (0, 1), got {n_draws} and {level}"
        )
    confidence, is_right = (part.cpu() for part in confidence_and_hits(probabilities, labels))
    index = bin_index(confidence, n_bins)
    gap = confidence - is_right.double()
    ece = float(torch.bincount(index, gap, n_bins).abs().sum()) / len(gap)
    errors = torch.cat(list(_resampled_errors(gap, index, n_bins, n_draws, generator)))
    # The pivot 2 e - q can leave [0, 1], where every ECE lies.
    tails = torch.tensor([(1 + level) / 2, (1 - level) / 2], dtype=torch.float64)
    low, high = (2 * ece - errors.quantile(tails)).clamp(0, 1).tolist()
    null = torch.cat(list(_null_errors(confidence, n_bins, n_draws, generator)))
    return EceInterval(low if ece > float(null.quantile(tails[0])) else 0.0, high, level)


def _null_errors(
    confidence: Tensor, n_bins: int, n_draws: int, generator: torch.Generator
) -> Iterator[Tensor]:
    # Draws differ by their hits alone: each confidence stays in its bin, so bins are found once.
    in_bin = functional.one_hot(bin_index(confidence, n_bins), n_bins).double()
    expected = confidence @ in_bin
    for n_rows in _rows_at_once(n_draws, len(confidence)):
        drawn = torch.rand((n_rows, len(confidence)), generator=generator) < confidence
        yield (drawn.double() @ in_bin - expected).abs().sum(1) / len(confidence)


def _resampled_errors(
    gap: Tensor, index: Tensor, n_bins: int, n_draws: int, generator: torch.Generator
) -> Iterator[Tensor]:
    n = len(gap)
    for n_rows in _rows_at_once(n_draws, n):
        drawn = torch.randint(n, (n_rows, n), generator=generator)
        in_row = index[drawn] + torch.arange(n_rows)[:, None] * n_bins
        sums = torch.bincount(in_row.flatten(), gap[drawn].flatten(), n_rows * n_bins)
        yield sums.view(n_rows, n_bins).abs().sum(1) / n


def _rows_at_once(n_rows: int, n_columns: int) -> list[int]:
    most = max(1, _DRAWN_AT_ONCE // n_columns)
    return [min(most, n_rows - start) for start in range(0, n_rows, most)]
