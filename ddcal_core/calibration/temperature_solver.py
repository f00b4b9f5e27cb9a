"""The temperature of least NLL, solved exactly.

With rows shifted to maximum 0, A(b) = -mean_i E_softmax(b z_i)[z_i] falls from A(0) to 0, and the
NLL is least where A(b) = B = -mean_i z_i,y_i. Whether there is such a b = 1 / T can be read off
A(0) and B before solving:

    A(0) = 0       unidentified       constant rows: every T gives the same probabilities
    B = 0          separable          every label has the largest logit: T -> 0
    B >= A(0)      worse_than_chance  labels no better than the row's mean: T -> infinity

A root beyond e^-700 or e^700, for gaps of 1e-300 or logits of 1e304, goes with the limit it is next
to. Masked classes (`masked_classes`) are left out throughout.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ddcal_core.calibration.logit_passes import (
    Opening,
    Point,
    Samples,
    opening_of,
    point_at,
    samples_of,
)

RootStatus = Literal["ok", "separable", "worse_than_chance", "unidentified"]

_LAST_STEP = 1e-5  # the error left after a step of Halley's goes with its cube
_LAST_BRACKET = 1e-12
_FIRST_STEP_LIMIT = 4.0  # of log b, doubled until the root is bracketed
_MAX_LOG = 700.0  # exp overflows just above
_LEAST_LABEL_GAP = 1e-300  # log b of the root is at most log(log K / B): below _MAX_LOG from here
_START_ROWS = (2**9, 2**13)  # of the rough solutions that the whole starts from
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
    """
    samples = samples_of(logits, labels)
    is_coarse_safe = _is_float32_safe(samples)
    opening = opening_of(samples, torch.float32 if is_coarse_safe else torch.float64)
    if is_coarse_safe and _is_doubtful(opening):
        is_coarse_safe, opening = False, opening_of(samples, torch.float64)
    status = _status(opening)
    if status != "ok":
        return _no_root(samples, opening, status)
    log_b, n_coarse = _starting_log_b(samples, opening), 0
    if is_coarse_safe:
        log_b, n_coarse = _solve_coarsely(samples, opening, log_b)
    point, step, n_fine = _solve(samples, opening, log_b, last_step=_LAST_STEP)
    log_t = math.log(samples.scale) - math.log(point.b) - step
    if abs(log_t) >= _MAX_LOG or abs(math.log(point.b)) >= _MAX_LOG:
        return _no_root(samples, opening, "separable" if log_t < 0 else "worse_than_chance")
    # No pass is spent on the last step. The slope of the NLL in log b, -b excess, falls to 0 over
    # it, about linearly: the decrease is half of slope times step.
    return Root(
        temperature=samples.scale / (point.b * math.exp(step)),
        status="ok",
        iterations=n_coarse + n_fine,
        nll_before=opening.nll,
        nll_after=point.nll - point.b * point.excess * step / 2,
        standard_error=_standard_error(point, n_draws),
    )


def _no_root(samples: Samples, opening: Opening, status: RootStatus) -> Root:
    return Root(None, status, 0, opening.nll, _nll_limit(samples, status), None)


def _is_float32_safe(samples: Samples) -> bool:
    """Whether float32 passes help: float32 to begin with, many numbers, none extreme."""
    return (
        samples.columns.dtype == torch.float32
        and samples.columns.numel() >= _MANY_NUMBERS
        and 1 / _FLOAT32_LIMIT < samples.magnitude < _FLOAT32_LIMIT
    )


def _is_doubtful(opening: Opening) -> bool:
    """Whether float32 may have misjudged: constant rows, or labels near chance."""
    return opening.above_mean <= _FLOAT32_DOUBT * opening.spread or (
        opening.spread <= _FLOAT32_DOUBT
    )


def _status(opening: Opening) -> RootStatus:
    # First, as the label of a constant row has the largest logit, too.
    if opening.spread == 0:
        return "unidentified"
    if opening.is_separable or opening.label_gap < _LEAST_LABEL_GAP:
        return "separable"
    if opening.above_mean <= _CHANCE_TOLERANCE * opening.spread:
        return "worse_than_chance"
    return "ok"


def _nll_limit(samples: Samples, status: RootStatus) -> float:
    """What the NLL falls to where there is no least one."""
    n_classes, n = samples.columns.shape
    if status != "separable":
        kept = samples.n_kept
        return math.log(n_classes) if kept is None else float(kept.log().mean())
    n_largest = (samples.columns == samples.largest).sum(0)
    return float(n_largest.double().log().sum()) / n


def _starting_log_b(samples: Samples, opening: Opening) -> float:
    """Near log b: solved roughly on ever more evenly spaced rows, where there are many."""
    # T as large as the logits' own spread: the way from there does not depend on their scale.
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
            n_kept=None if samples.n_kept is None else samples.n_kept[stride],
        )
        few_opening = opening_of(few, torch.float64)
        if _status(few_opening) != "ok":
            continue
        point, step, _ = _solve(few, few_opening, log_b, last_step=_ROUGH_STEP)
        log_b = math.log(point.b) + step
    return log_b


def _solve_coarsely(samples: Samples, opening: Opening, log_b: float) -> tuple[float, int]:
    """A log b that float64 has little to add to, and the float32 points it took."""
    point, step, n_points = _solve(
        samples, opening, log_b, last_step=_ROUGH_STEP, dtype=torch.float32
    )
    return math.log(point.b) + step, n_points


def _solve(
    samples: Samples,
    opening: Opening,
    log_b: float,
    *,
    last_step: float,
    dtype: torch.dtype = torch.float64,
) -> tuple[Point, float, int]:
    """A point where A(b) = B but for a last step in log b, that step, and the points it took."""
    target = opening.label_gap
    low, high = -math.inf, math.inf
    limit, previous = _FIRST_STEP_LIMIT, math.inf
    for iteration in itertools.count(1):
        point = point_at(samples, math.exp(log_b), dtype)
        low, high = (log_b, high) if point.excess > 0 else (low, log_b)
        step = _step(point, target)
        if abs(step) <= last_step:
            return point, step, iteration
        # Near chance rounding hides the slope.
        if high - low <= _LAST_BRACKET or abs(log_b) >= _MAX_LOG:
            return point, 0.0, iteration
        step = max(-limit, min(limit, step))
        if math.isinf(low) or math.isinf(high):
            limit *= 2
        # As Dekker and Brent do: a step that leaves the bracket, or is more than half the one
        # before, gives way to bisection, so that the search ends whatever the logits are.
        elif not low < log_b + step < high or abs(step) > abs(previous) / 2:
            step = (low + high) / 2 - log_b
        log_b, previous = max(-_MAX_LOG, min(_MAX_LOG, log_b + step)), step
    raise AssertionError  # for type checkers: count() does not end


def _step(point: Point, target: float) -> float:
    """Halley's step in log b on log A - log B."""
    level = target + point.excess
    if level <= 0:
        return -math.inf  # so far right that A has rounded to 0
    if point.fall <= 0:
        return math.copysign(math.inf, point.excess)  # flat to rounding: the sign alone tells
    newton = math.log1p(point.excess / target) * level / point.fall
    # With g = log A: g'' / g' = A'' / A' - g', A' = -fall, A'' / A' = 1 + skew.
    bend = 1 + newton * (1 + point.skew + point.fall / level) / 2
    # Far from the root the bend is no guide: it may halve or double Newton's step, not turn it.
    return newton / min(2.0, max(0.5, bend))


def _standard_error(point: Point, n_draws: int) -> float | None:
    """Standard error of log T: sqrt(Var(s) / n) / (b mean Var_p z), s = z_y - E_p[z]."""
    n_samples = len(point.residual) // n_draws
    if n_samples < 2 or point.fall <= 0:  # near chance rounding hides the slope
        return None
    # Draws of one sample are not independent: their mean is one observation.
    per_sample = point.residual.view(n_draws, n_samples).mean(0)
    error = math.sqrt(float(per_sample.var(correction=0)) / n_samples) / point.fall
    return error if math.isfinite(error) else None
