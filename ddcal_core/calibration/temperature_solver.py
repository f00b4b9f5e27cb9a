"""The temperature of least NLL, solved exactly.

With rows shifted to maximum 0, A(b) = -mean_i E_softmax(b z_i)[z_i] falls from A(0) to 0, and the
NLL is least where A(b) = B = -mean_i z_i,y_i. Whether there is such a b = 1 / T can be read off
A(0) and B before solving:

    A(0) = 0       unidentified       constant rows: every T gives the same probabilities
    B = 0          separable          every label has the largest logit: T -> 0
    B >= A(0)      worse_than_chance  labels no better than the row's mean: T -> infinity
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ddcal_core.metrics.class_major import exponential_of_multiple, row_chunks

RootStatus = Literal["ok", "separable", "worse_than_chance", "unidentified"]

_LAST_STEP = 1e-5  # the error left after a step of Halley's goes with its cube
_LAST_BRACKET = 1e-12
_FIRST_STEP_LIMIT = 4.0
_MAX_LOG = 700.0  # exp overflows just above
_PLAIN_EXPONENTS = 200  # squares of numbers up to 2^200 are far from float64's ends
_START_ROWS = (2**9, 2**13)
_ROUGH_STEP = 0.05
_MANY_NUMBERS = 2**17
_FLOAT32_LIMIT = 1e6  # of the logits' magnitude: far from where cubes leave float32
_FLOAT32_DOUBT = 1e-3
# Sums in float64 cannot tell labels from chance any closer than this, relative to A(0).
_CHANCE_TOLERANCE = 32 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Root:
    """The solution, or what there is instead.

    Attributes:
        temperature: T > 0 when status is "ok", else None.
        status: "ok", or which limit the NLL falls towards (see the module).
        iterations: passes over the logits that the solver took.
        nll_before: mean NLL at T = 1, in nats; to 1e-7 relative of many float32 logits.
        nll_after: mean NLL at T, or its limit.
        standard_error: of log T, see `temperature.TemperatureFit`.
    """

    temperature: float | None
    status: RootStatus
    iterations: int
    nll_before: float
    nll_after: float
    standard_error: float | None


@dataclass(frozen=True, eq=False)
class _Samples:
    """Logits class by class, so that passes run along memory.

    Attributes:
        columns: (K, N), the logits as they came (float32 where they were half precision).
        largest: (N,), of each sample; passes shift by it.
        at_label: (N,), the label's logit.
        scale: logits are read as z / scale; a power of 2, so that this is exact.
        magnitude: the largest absolute logit, in units of scale.
    """

    columns: Tensor
    largest: Tensor
    at_label: Tensor
    scale: float
    magnitude: float


@dataclass(frozen=True, eq=False)
class _Opening:
    """What is known before solving.

    Attributes:
        spread: A(0).
        above_mean: A(0) - B, how far labels lie above their row's mean on average.
        is_separable: B = 0.
        nll: at T = 1.
    """

    spread: float
    above_mean: float
    is_separable: bool
    nll: float


@dataclass(frozen=True, eq=False)
class _Point:
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


def solve_exactly(logits: Tensor, labels: Tensor, n_draws: int = 1) -> Root:
    """Safeguarded Halley steps in log b on log A(b) = log B.

    From a few hundred evenly spaced rows to a few thousand, then on all in float32 where that is
    safe, and the last on all in float64. Makes one copy of the logits, class by class.

    Args:
        logits: (N, K), N >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.
        n_draws: rows of each sample, see `temperature.fit_temperature`.

    Returns:
        The root to 1e-9 relative, or the status that says why there is none.

    Raises:
        ValueError: gaps that differ by more than float64 can hold.
    """
    samples = _prepare(logits, labels)
    is_coarse_safe = _is_float32_safe(samples)
    opening = _open(samples, torch.float32 if is_coarse_safe else torch.float64)
    if is_coarse_safe and _is_doubtful(opening):
        is_coarse_safe, opening = False, _open(samples, torch.float64)
    status = _status(opening)
    if status != "ok":
        return Root(None, status, 0, opening.nll, _nll_limit(samples, status), None)
    log_b, n_coarse = _starting_log_b(samples, opening), 0
    if is_coarse_safe:
        log_b, n_coarse = _solve_coarsely(samples, opening, log_b)
    point, step, n_fine = _solve(samples, opening, log_b, last_step=_LAST_STEP)
    return Root(
        temperature=samples.scale / (point.b * math.exp(step)),
        status="ok",
        iterations=n_coarse + n_fine,
        nll_before=opening.nll,
        nll_after=point.nll - point.b * point.excess * step / 2,
        standard_error=_standard_error(point, n_draws),
    )


def _prepare(logits: Tensor, labels: Tensor) -> _Samples:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    columns = torch.empty(logits.shape[::-1], dtype=dtype, device=logits.device)
    for part in row_chunks(logits):
        columns[:, part] = logits[part].t()
    low, high = torch.aminmax(columns)
    exponent = math.frexp(max(abs(float(low)), abs(float(high))))[1] - 1
    is_plain = abs(exponent) < _PLAIN_EXPONENTS
    scale = 1.0 if is_plain else math.ldexp(1.0, max(exponent, -1000))
    magnitude = max(abs(float(low)), abs(float(high))) / scale
    at_label = columns.gather(0, labels[None])[0]
    return _Samples(columns, columns.amax(0), at_label, scale, magnitude)


def _is_float32_safe(samples: _Samples) -> bool:
    """Whether float32 passes help: float32 to begin with, many numbers, none extreme."""
    return (
        samples.columns.dtype == torch.float32
        and samples.columns.numel() >= _MANY_NUMBERS
        and 1 / _FLOAT32_LIMIT < samples.magnitude < _FLOAT32_LIMIT
    )


def _is_doubtful(opening: _Opening) -> bool:
    """Whether float32 may have misjudged: constant rows, or labels near chance."""
    return opening.above_mean <= _FLOAT32_DOUBT * opening.spread or (
        opening.spread <= _FLOAT32_DOUBT
    )


def _chunks(samples: _Samples, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows in their order: where, (K, n) shifted to maximum 0, and their labels' entries (n,).

    The (K, n) lies where the next one will: it holds until that is asked for.
    """
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


def _open(samples: _Samples, dtype: torch.dtype) -> _Opening:
    n_classes, n = samples.columns.shape
    sums = samples.columns.new_zeros(3, dtype=torch.float64)
    for _, columns, at_label in _chunks(samples, dtype):
        mean = columns.sum(0) / n_classes
        total = exponential_of_multiple(columns, samples.scale).sum(0)
        nll = total.log_() - samples.scale * at_label
        sums += torch.stack([-_sum(mean), _sum(at_label - mean), _sum(nll)])
    spread, above_mean, nll_mean = (sums / n).tolist()
    is_separable = bool((samples.at_label == samples.largest).all())
    return _Opening(spread, above_mean, is_separable, nll_mean)


def _sum(values: Tensor) -> Tensor:
    return values.sum(dtype=torch.float64)


def _status(opening: _Opening) -> RootStatus:
    if opening.spread == 0:
        return "unidentified"
    if opening.is_separable:
        return "separable"
    if opening.above_mean <= _CHANCE_TOLERANCE * opening.spread:
        return "worse_than_chance"
    return "ok"


def _nll_limit(samples: _Samples, status: RootStatus) -> float:
    """What the NLL falls to where there is no least one."""
    n_classes, n = samples.columns.shape
    if status != "separable":
        return math.log(n_classes)
    n_largest = (samples.columns == samples.largest).sum(0)
    return float(n_largest.double().log().sum()) / n


def _starting_log_b(samples: _Samples, opening: _Opening) -> float:
    """Near log b: solved roughly on ever more evenly spaced rows, where there are many."""
    log_b = -math.log(opening.spread)
    n = len(samples.largest)
    for n_rows in _START_ROWS:
        if n < 4 * n_rows:
            break
        stride = slice(None, None, n // n_rows)
        few = replace(
            samples,
            columns=samples.columns[:, stride].contiguous(),
            largest=samples.largest[stride],
            at_label=samples.at_label[stride],
        )
        few_opening = _open(few, torch.float64)
        if _status(few_opening) != "ok":
            continue
        point, step, _ = _solve(few, few_opening, log_b, last_step=_ROUGH_STEP)
        log_b = math.log(point.b) + step
    return log_b


def _solve_coarsely(samples: _Samples, opening: _Opening, log_b: float) -> tuple[float, int]:
    """A log b that float64 has little to add to, and the float32 points it took."""
    point, step, n_points = _solve(
        samples, opening, log_b, last_step=_ROUGH_STEP, dtype=torch.float32
    )
    return math.log(point.b) + step, n_points


def _solve(
    samples: _Samples,
    opening: _Opening,
    log_b: float,
    *,
    last_step: float,
    dtype: torch.dtype = torch.float64,
) -> tuple[_Point, float, int]:
    """A point where A(b) = B but for a last step in log b, that step, and the points it took."""
    target = opening.spread - opening.above_mean
    low, high = -math.inf, math.inf
    limit, previous = _FIRST_STEP_LIMIT, math.inf
    for iteration in itertools.count(1):
        point = _point(samples, math.exp(log_b), dtype)
        low, high = (log_b, high) if point.excess > 0 else (low, log_b)
        step = _step(point, target)
        if abs(step) <= last_step:
            return point, step, iteration
        if high - low <= _LAST_BRACKET:  # near chance rounding hides the slope
            return point, 0.0, iteration
        step = max(-limit, min(limit, step))
        if math.isinf(low) or math.isinf(high):
            limit *= 2
        elif not low < log_b + step < high or abs(step) > abs(previous) / 2:
            step = (low + high) / 2 - log_b
        log_b, previous = log_b + step, step
        if abs(log_b) > _MAX_LOG:
            raise ValueError("the logits' gaps differ by more than float64 can hold")
    raise AssertionError  # for type checkers: count() does not end


def _step(point: _Point, target: float) -> float:
    """Halley's step in log b on log A - log B."""
    level = target + point.excess
    if level <= 0 or point.fall <= 0:
        return -math.inf  # so far right that A has rounded to 0
    newton = math.log1p(point.excess / target) * level / point.fall
    # With g = log A: g'' / g' = A'' / A' - g', A' = -fall, A'' / A' = 1 + skew.
    bend = 1 + newton * (1 + point.skew + point.fall / level) / 2
    return newton / min(2.0, max(0.5, bend))


def _point(samples: _Samples, b: float, dtype: torch.dtype = torch.float64) -> _Point:
    n = len(samples.largest)
    residual = samples.columns.new_empty(n, dtype=torch.float64)
    sums = samples.columns.new_zeros(4, dtype=torch.float64)
    for part, columns, at_label in _chunks(samples, dtype):
        weighted = exponential_of_multiple(columns, b)
        total = weighted.sum(0)
        mean = weighted.mul_(columns).sum(0) / total
        square = weighted.mul_(columns).sum(0) / total
        cube = weighted.mul_(columns).sum(0) / total
        variance = square - mean * mean
        third = cube - mean * (3 * variance + mean * mean)
        off = at_label - mean
        residual[part] = off
        nll = total.log_() - b * at_label
        sums += torch.stack([_sum(off), _sum(variance), _sum(third), _sum(nll)])
    excess, variance_mean, third_mean, nll_mean = (sums / n).tolist()
    skew = b * third_mean / variance_mean if variance_mean > 0 else 0.0
    return _Point(b, excess, b * variance_mean, skew, nll_mean, residual)


def _standard_error(point: _Point, n_draws: int) -> float | None:
    """Standard error of log T: sqrt(Var(s) / n) / (b mean Var_p z), s = z_y - E_p[z]."""
    n_samples = len(point.residual) // n_draws
    if n_samples < 2:
        return None
    # Draws of one sample are not independent: their mean is one observation.
    per_sample = point.residual.view(n_draws, n_samples).mean(0)
    return math.sqrt(float(per_sample.var(correction=0)) / n_samples) / point.fall
