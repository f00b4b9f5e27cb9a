"""Bins of equal width and the sums in them, which add to the last bit.

Bins are (a, b] on [0, 1], 0 in the first. All that the errors on them need of the samples is a few
sums for each bin, kept as whole numbers: they add exactly, so that shards, streams and any order of
samples give the same value to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

N_BINS = 15
# A confidence is counted in two whole numbers below 2^31, so in units of 2^-62.
_HALF = 2**31
_UNITS = _HALF * _HALF
_EXACT_TERMS = 2**22  # so many whole numbers up to 2^31 add exactly in float64


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
class LargestGap:
    """The bin that is off most.

    Attributes:
        value: its |accuracy - mean confidence|, the maximum calibration error, in [0, 1].
        bin: its index from 0, the first where several are off alike.
        count: samples in it; one sample can set the value.
    """

    value: float
    bin: int
    count: int


@dataclass(frozen=True)
class BinSums:
    """What the errors on M bins need of the samples; `+` joins those of other samples.

    Attributes:
        count: samples in each bin.
        right: right predictions among them.
        confidence_units: their summed confidence in units of 2^-62.
    """

    count: tuple[int, ...]
    right: tuple[int, ...]
    confidence_units: tuple[int, ...]

    def __add__(self, other: "BinSums") -> "BinSums":
        """The sums of both; ValueError where the numbers of bins differ."""
        if len(self.count) != len(other.count):
            raise ValueError(
                f"wanted sums of {len(self.count)} bins to add, got {len(other.count)}"
            )
        return BinSums(
            _added(self.count, other.count),
            _added(self.right, other.right),
            _added(self.confidence_units, other.confidence_units),
        )

    @property
    def n(self) -> int:
        """Samples in all bins."""
        return sum(self.count)

    @property
    def expected_calibration_error(self) -> float:
        """ECE: sum over bins of n_m / N |accuracy_m - mean confidence_m|, in [0, 1]."""
        return sum(abs(gap) for gap in self._gap_units()) / (self.n * _UNITS)

    @property
    def root_mean_square_calibration_error(self) -> float:
        """RMSCE: the root of the sum of n_m / N (accuracy_m - mean confidence_m)^2, in [0, 1]."""
        squares = sum(
            (gap / _UNITS) ** 2 / n
            for gap, n in zip(self._gap_units(), self.count, strict=True)
            if n
        )
        return float((squares / self.n) ** 0.5)

    @property
    def largest_gap(self) -> LargestGap:
        """The bin that sets the maximum calibration error."""
        # Below every gap, so that an empty bin is never the one.
        gaps = [
            abs(gap) / (n * _UNITS) if n else -1.0
            for gap, n in zip(self._gap_units(), self.count, strict=True)
        ]
        where = max(range(len(gaps)), key=gaps.__getitem__)
        return LargestGap(gaps[where], where, self.count[where])

    @property
    def signed_calibration_gap(self) -> float:
        """Mean confidence - accuracy, in [-1, 1]."""
        return sum(self._gap_units()) / (self.n * _UNITS)

    @property
    def reliability_bins(self) -> ReliabilityBins:
        """The diagram of these sums."""
        return ReliabilityBins(
            edges=tuple(bin_edges(len(self.count)).tolist()),
            count=self.count,
            confidence=tuple(
                units / (n * _UNITS) if n else None
                for units, n in zip(self.confidence_units, self.count, strict=True)
            ),
            accuracy=tuple(
                right / n if n else None for right, n in zip(self.right, self.count, strict=True)
            ),
        )

    def _gap_units(self) -> list[int]:
        # In whole units, so that nothing is lost where confidence and accuracy nearly cancel.
        return [
            confidence - right * _UNITS
            for confidence, right in zip(self.confidence_units, self.right, strict=True)
        ]


def sums_of_confidences(confidence: Tensor, is_right: Tensor, n_bins: int = N_BINS) -> BinSums:
    """The sums of confidences and hits, however they were made.

    Args:
        confidence: float64 (N,), in [0, 1]; rounding above 1 is counted in the last bin.
        is_right: bool (N,), on the same device.
        n_bins: bins of equal width.

    Returns:
        Sums to add to others, or to read errors from.

    Raises:
        ValueError: no bins.
    """
    index = bin_index(confidence, n_bins)
    by_hit = torch.bincount(2 * index + is_right, minlength=2 * n_bins).tolist()
    wrong, right = by_hit[::2], by_hit[1::2]
    return BinSums(
        count=_added(wrong, right),
        right=tuple(right),
        confidence_units=tuple(units_by_index(index, confidence, n_bins)),
    )


def bin_edges(n_bins: int) -> Tensor:
    """The edges of bins of equal width.

    Args:
        n_bins: at least 1.

    Returns:
        float64 (n_bins + 1,), from 0 to 1, on the CPU.

    Raises:
        ValueError: no bins.
    """
    if n_bins < 1:
        raise ValueError(f"wanted at least one bin, got {n_bins}")
    # numpy's linspace, not torch's: they differ in the last bit, and peers use numpy's.
    return torch.from_numpy(np.linspace(0.0, 1.0, n_bins + 1))


def bin_index(confidence: Tensor, n_bins: int) -> Tensor:
    """The bin (a, b] that each confidence falls into.

    Args:
        confidence: float64, of any shape, in [0, 1].
        n_bins: bins of equal width, at least 1.

    Returns:
        int64, of the same shape, 0 to n_bins - 1; 0 is in the first bin, what rounding has put
        above 1 in the last.

    Raises:
        ValueError: no bins.
    """
    edges = bin_edges(n_bins).to(confidence.device)
    # A product finds the bin up to rounding, several times faster than a search; the edges decide.
    # Clamped, as 0 would fall before the first bin and a sum rounded above 1 behind the last.
    near = (confidence * n_bins).ceil_().long().sub_(1).clamp_(0, n_bins - 1)
    near += (confidence > edges[near + 1]).long() - (confidence <= edges[near]).long()
    return near.clamp_(0, n_bins - 1)


def units_by_index(index: Tensor, values: Tensor, n_sums: int) -> list[int]:
    """Exact sums of values by index.

    Args:
        index: int64 (n,), 0 to n_sums - 1.
        values: float64 (n,), in [0, 1].
        n_sums: how many sums.

    Returns:
        Sums in units of 2^-62, each value rounded to a whole number of them.
    """
    totals = [0] * n_sums
    for part in range(0, len(index), _EXACT_TERMS):
        where = index[part : part + _EXACT_TERMS]
        # A GPU's bincount adds in no fixed order; whole numbers up to 2^53 add exactly in any.
        scaled = values[part : part + _EXACT_TERMS] * _HALF
        high = scaled.floor()
        low = ((scaled - high) * _HALF).round_()
        high_sums = torch.bincount(where, weights=high, minlength=n_sums).tolist()
        low_sums = torch.bincount(where, weights=low, minlength=n_sums).tolist()
        for m in range(n_sums):
            totals[m] += int(high_sums[m]) * _HALF + int(low_sums[m])
    return totals


def _added(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))
