"""Passes over logits for the temperature solver: what it needs to know of them at one b = 1 / T.

With rows shifted to maximum 0, A(b) = -mean_i E_softmax(b z_i)[z_i] and B = -mean_i z_i,y_i. Both
are means over rows, taken a chunk at a time from one copy of the logits, class by class. Sums over
rows are float64 even in a float32 pass, so that the mean of many rows is no less exact than that of
few. Masked classes (`masked_classes`) stand as -inf: they have probability 0 at every b and are in
no mean.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.calibration.masked_classes import gaps_of, masked_gap
from ddcal_core.metrics.class_major import exponential_of_multiple, row_chunks

_PLAIN_EXPONENTS = 200  # squares of numbers up to 2^200 are far from float64's ends


@dataclass(frozen=True, eq=False)
class Samples:
    """Logits class by class, so that passes run along memory.

    Attributes:
        columns: (K, N), the logits as they came (float32 where they were half precision), -inf
            where a class was masked.
        largest: (N,), of each sample; passes shift by it.
        at_label: (N,), the label's logit.
        n_kept: float64 (N,), classes not masked; None where none is.
        scale: logits are read as z / scale; a power of 2, so that this is exact.
        magnitude: the largest absolute logit, in units of scale.
    """

    columns: Tensor
    largest: Tensor
    at_label: Tensor
    n_kept: Tensor | None
    scale: float
    magnitude: float


@dataclass(frozen=True, eq=False)
class Opening:
    """What is known before solving.

    Attributes:
        spread: A(0).
        label_gap: B, how far labels lie below their row's largest on average.
        above_mean: A(0) - B, how far labels lie above their row's mean on average.
        is_separable: B = 0.
        nll: at T = 1.
    """

    spread: float
    label_gap: float
    above_mean: float
    is_separable: bool
    nll: float


@dataclass(frozen=True, eq=False)
class Point:
    """The problem at one b = 1 / T, in units of 1 / scale; moments are under softmax(b z).

    Attributes:
        b: where.
        excess: A(b) - B = -dNLL / db.
        fall: -dA / dlog b = b mean Var[z].
        skew: b mean third central moment of z / mean Var[z].
        nll: in nats.
        residual: float64 (N,), z_y - E[z] of each row.
    """

    b: float
    excess: float
    fall: float
    skew: float
    nll: float
    residual: Tensor


def samples_of(logits: Tensor, labels: Tensor) -> Samples:
    """Copy logits class by class.

    Args:
        logits: (N, K), N >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        The copy, (K, N), in float32 where the logits are half precision, else in their dtype, on
        their device.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    columns = torch.empty(logits.shape[::-1], dtype=dtype, device=logits.device)
    gap = masked_gap(logits, labels)
    has_masks = math.isfinite(gap)
    for part in row_chunks(logits):
        columns[:, part] = logits[part].t()
        if has_masks:
            columns[:, part].masked_fill_((gaps_of(logits[part]) >= gap).t(), -math.inf)
    largest = columns.amax(0)
    low, high = torch.aminmax(columns.masked_fill(columns.isneginf(), 0) if has_masks else columns)
    size = max(abs(float(low)), abs(float(high)))
    exponent = math.frexp(size)[1] - 1
    is_plain = abs(exponent) < _PLAIN_EXPONENTS
    scale = 1.0 if is_plain else math.ldexp(1.0, max(exponent, -1000))
    return Samples(
        columns=columns,
        largest=largest,
        at_label=columns.gather(0, labels[None])[0],
        n_kept=columns.isfinite().sum(0).double() if has_masks else None,
        scale=scale,
        magnitude=size / scale,
    )


def _chunks(samples: Samples, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows in their order: where, (K, n) shifted to maximum 0, and their labels' entries (n,).

    The (K, n) lies where the next one will: it holds until that is asked for.
    """
    # One buffer for all chunks, so that a fit of 100,000 x 10 logits takes 1.9 times their memory.
    shifted = samples.columns.new_empty(0, dtype=dtype)
    for part in row_chunks(samples.columns.t()):
        own = samples.columns[:, part]
        if shifted.shape != own.shape:
            shifted = own.new_empty(own.shape, dtype=dtype)
        shifted.copy_(own)
        largest, at_label = samples.largest[part].to(dtype), samples.at_label[part].to(dtype)
        if samples.scale != 1:
            shifted /= samples.scale
            largest, at_label = largest / samples.scale, at_label / samples.scale
        shifted -= largest
        yield part, shifted, at_label - largest


def opening_of(samples: Samples, dtype: torch.dtype) -> Opening:
    """One pass at b = 0 and T = 1.

    Args:
        samples: N rows.
        dtype: float32 or float64, of the pass; sums over rows are float64.
    """
    n_classes, n = samples.columns.shape
    sums = samples.columns.new_zeros(4, dtype=torch.float64)
    for part, columns, at_label in _chunks(samples, dtype):
        total = exponential_of_multiple(columns, samples.scale).sum(0)
        n_kept = n_classes if samples.n_kept is None else samples.n_kept[part]
        mean = _without_masks(samples, columns).sum(0) / n_kept
        nll = total.log_() - samples.scale * at_label
        sums += torch.stack([-_sum(mean), -_sum(at_label), _sum(at_label - mean), _sum(nll)])
    spread, label_gap, above_mean, nll_mean = (sums / n).tolist()
    # By comparison: B is a difference of sums, which round.
    is_separable = bool((samples.at_label == samples.largest).all())
    return Opening(spread, label_gap, above_mean, is_separable, nll_mean)


def _without_masks(samples: Samples, columns: Tensor) -> Tensor:
    """The chunk with 0 in place of masks, so that sums and products with weight 0 are finite."""
    if samples.n_kept is None:
        return columns
    return columns.masked_fill_(columns.isneginf(), 0)


def _sum(values: Tensor) -> Tensor:
    return values.sum(dtype=torch.float64)


def point_at(samples: Samples, b: float, dtype: torch.dtype = torch.float64) -> Point:
    """One pass at b = 1 / T.

    Args:
        samples: N rows.
        b: above 0, in units of 1 / scale.
        dtype: float32 or float64, of the pass; sums over rows are float64.
    """
    n = len(samples.largest)
    residual = samples.columns.new_empty(n, dtype=torch.float64)
    sums = samples.columns.new_zeros(4, dtype=torch.float64)
    for part, columns, at_label in _chunks(samples, dtype):
        weighted = exponential_of_multiple(columns, b)
        total = weighted.sum(0)
        values = _without_masks(samples, columns)
        # In place: one exponential gives the first three moments, in one buffer.
        mean = weighted.mul_(values).sum(0) / total
        square = weighted.mul_(values).sum(0) / total
        cube = weighted.mul_(values).sum(0) / total
        variance = square - mean * mean
        third = cube - mean * (3 * variance + mean * mean)
        off = at_label - mean
        residual[part] = off
        nll = total.log_() - b * at_label
        sums += torch.stack([_sum(off), _sum(variance), _sum(third), _sum(nll)])
    excess, variance_mean, third_mean, nll_mean = (sums / n).tolist()
    skew = b * third_mean / variance_mean if variance_mean > 0 else 0.0
    return Point(b, excess, b * variance_mean, skew, nll_mean, residual)
