"""Temperature scaling, solved exactly; and as the literature solves it, by name.

A temperature T turns logits z into probabilities softmax(z / T). The best one minimises the mean
negative log-likelihood (NLL), a convex problem in b = 1 / T. With rows shifted to maximum 0,
A(b) = -mean_i E_softmax(b z_i)[z_i] falls from A(0) to 0, and the minimum solves A(b) = B with
B = -mean_i z_i,y_i. Whether there is a minimum can be read off A(0) and B before solving:

    A(0) = 0       unidentified       constant rows: every T gives the same probabilities
    B = 0          separable          every label has the largest logit: T -> 0
    B >= A(0)      worse_than_chance  labels no better than the row's mean: T -> infinity
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcal_core.metrics import check_scores
from ddcal_core.metrics.class_major import class_major, row_chunks

Method = Literal["exact", "lbfgs_50", "lbfgs_200"]
Status = Literal[
    "ok",
    "separable",
    "worse_than_chance",
    "unidentified",
    "not_converged",
    "not_positive",
    "not_finite",
]

_LBFGS_STEPS = {"lbfgs_50": 50, "lbfgs_200": 200}
_LBFGS_START = 1.5
_LBFGS_RATE = 0.01
_CONVERGED = 1e-3  # how near, relatively, an optimiser has to come to the exact temperature
_LAST_STEP = 1e-7  # the error left after a Newton step goes with its square
_LAST_BRACKET = 1e-12
_FIRST_STEP_LIMIT = 4.0
_MAX_LOG = 700.0  # exp overflows just above
_PLAIN_EXPONENTS = 200  # squares of numbers up to 2^200 are far from float64's ends
_START_ROWS = 2**13
_START_LAST_STEP = 1e-2
# Sums in float64 cannot tell labels from chance any closer than this, relative to A(0).
_CHANCE_TOLERANCE = 32 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature, or why there is none.

    Attributes:
        temperature: T > 0 when status is "ok" or "not_converged", else None.
        status: "ok", or which limit the NLL falls towards (see the module). Only of named
            optimisers: "not_converged" (a temperature, but not within 0.1 % of the best, which
            may not exist), "not_positive" and "not_finite" (it ended at no temperature).
        n: rows of logits fitted on.
        iterations: passes over the logits that the solver took.
        nll_before: mean NLL at T = 1, in nats.
        nll_after: mean NLL at T, or its limit; of a named optimiser its own loss at the end.
        standard_error: of log T, so relative to T, for samples drawn independently, also where
            the model is wrong (sandwich formula); None when status is not "ok", or for one sample.
        method: what solved it.
        reached: where a named optimiser ended, also when that is no temperature; None if exact.
    """

    temperature: float | None
    status: Status
    n: int
    iterations: int
    nll_before: float
    nll_after: float
    standard_error: float | None
    method: Method = "exact"
    reached: float | None = None


@dataclass(frozen=True, eq=False)
class _Samples:
    """Logits as they came, (N, K), to be read as z / scale; scale is a power of 2, so exact."""

    logits: Tensor
    labels: Tensor
    scale: float


@dataclass(frozen=True, eq=False)
class _Ends:
    """What can be read off without an exponential.

    Attributes:
        spread: A(0).
        above_mean: A(0) - B, how far labels lie above their row's mean on average.
        is_separable: B = 0.
    """

    spread: float
    above_mean: float
    is_separable: bool


@dataclass(frozen=True, eq=False)
class _Point:
    """The problem at one b = 1 / T, in units of 1 / scale.

    Attributes:
        b: where.
        excess: A(b) - B = -dNLL / db.
        fall: -dA / dlog b = b mean Var_softmax(b z)[z].
        nll: in nats.
        residual: float64 (N,), z_y - E_softmax(b z)[z] of each row.
    """

    b: float
    excess: float
    fall: float
    nll: float
    residual: Tensor


def fit_temperature(
    logits: Tensor, labels: Tensor, *, n_draws: int = 1, method: Method = "exact"
) -> TemperatureFit:
    """The temperature of least NLL, exact to 1e-9 relative at any scale of the logits.

    Safeguarded Newton in log b on log A(b) = log B, started from a few thousand of the rows; all
    sums float64, no copy of the logits is made.

    The gradient steps common in this field stop far from the optimum when the logits are large.
    To see by how much they are there by name: "lbfgs_50" and "lbfgs_200" are so many steps of
    L-BFGS at rate 0.01 on T from 1.5, in the logits' precision. They keep what they end at, with
    a status that tells whether it is the optimum; never use them for anything else.

    Args:
        logits: (N, K), N >= 1, floating point, finite, not probabilities.
        labels: int64 (N,), 0 to K - 1.
        n_draws: how many rows each sample has: row d * (N / n_draws) + i is the d-th of sample i.
            Only the standard error depends on it.
        method: "exact", or a named optimiser of the literature.

    Returns:
        The temperature, or the status that says why there is none.

    Raises:
        ValueError: empty, misshapen, NaN or infinite, a label out of range or not int64, every row
            looks like probabilities, N no multiple of n_draws, or no such method.

    Source:
        Guo et al., ICML 2017, whose code ran L-BFGS for 50 steps, since July 2025 for 200; the
        exact solver and the degenerate cases are our own.
    """
    if method != "exact" and method not in _LBFGS_STEPS:
        raise ValueError(f"a method of exact, {', '.join(_LBFGS_STEPS)} is wanted, got {method}")
    check_scores(logits, labels)
    _refuse_probabilities(logits)
    if n_draws < 1 or len(labels) % n_draws:
        raise ValueError(
            f"a number of rows divisible by n_draws = {n_draws} is wanted, got {len(labels)}"
        )
    exact = _fit_exactly(logits, labels, n_draws)
    if method == "exact":
        return exact
    return _fit_by_lbfgs(logits, labels, method, exact)


def _fit_exactly(logits: Tensor, labels: Tensor, n_draws: int) -> TemperatureFit:
    samples = _Samples(logits, labels, _scale(logits))
    ends = _ends(samples)
    status = _status(ends)
    n = len(labels)
    nll_before = _point(samples, samples.scale).nll
    if status != "ok":
        return TemperatureFit(None, status, n, 0, nll_before, _nll_limit(samples, status), None)
    point, step, iterations = _solve(samples, ends, _starting_log_b(samples, ends), _LAST_STEP)
    return TemperatureFit(
        temperature=samples.scale / (point.b * math.exp(step)),
        status="ok",
        n=n,
        iterations=iterations,
        nll_before=nll_before,
        nll_after=point.nll - point.b * point.excess * step / 2,
        standard_error=_standard_error(point, n_draws),
    )


def _fit_by_lbfgs(
    logits: Tensor, labels: Tensor, method: Method, exact: TemperatureFit
) -> TemperatureFit:
    """Where so many steps from 1.5 end, judged by the exact fit."""
    scores = logits if logits.dtype == torch.float64 else logits.float()
    temperature = nn.Parameter(scores.new_full((1,), _LBFGS_START))
    n_steps = _LBFGS_STEPS[method]
    optimizer = torch.optim.LBFGS([temperature], lr=_LBFGS_RATE, max_iter=n_steps)

    def loss() -> Tensor:
        return functional.cross_entropy(scores / temperature, labels)

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    reached = float(temperature.detach())
    with torch.no_grad():
        nll_after = float(loss())
    status = _status_reached(reached, exact)
    is_usable = status in {"ok", "not_converged"}
    return replace(
        exact,
        temperature=reached if is_usable else None,
        status=status,
        iterations=int(optimizer.state[temperature]["func_evals"]),
        nll_after=nll_after,
        standard_error=exact.standard_error if status == "ok" else None,
        method=method,
        reached=reached,
    )


def _status_reached(reached: float, exact: TemperatureFit) -> Status:
    if not math.isfinite(reached):
        return "not_finite"
    if reached <= 0:
        return "not_positive"
    if exact.temperature is None or abs(reached / exact.temperature - 1) > _CONVERGED:
        return "not_converged"
    return "ok"


def _refuse_probabilities(logits: Tensor) -> None:
    total = logits.double().sum(1)
    if bool((logits >= 0).all()) and float((total - 1).abs().max()) < 1e-3:
        raise ValueError(
            "logits are wanted, got what looks like probabilities: every row is in [0, 1] and "
            "sums to 1; pass the network's output before the softmax, or log probabilities"
        )


def _scale(logits: Tensor) -> float:
    """1, or a power of 2 near the largest logit where squares would leave float64's range."""
    low, high = torch.aminmax(logits)
    exponent = math.frexp(max(abs(float(low)), abs(float(high))))[1] - 1
    return 1.0 if abs(exponent) < _PLAIN_EXPONENTS else math.ldexp(1.0, max(exponent, -1000))


def _columns(samples: _Samples, part: slice) -> tuple[Tensor, Tensor]:
    """Rows class-major, shifted to maximum 0, float64 (K, n); and their labels' entries (n,)."""
    columns = class_major(samples.logits[part])
    if samples.scale != 1:
        columns /= samples.scale
    columns -= columns.amax(0)
    return columns, columns.gather(0, samples.labels[part][None])[0]


def _ends(samples: _Samples) -> _Ends:
    n, n_classes = samples.logits.shape
    sums = samples.logits.new_zeros(3, dtype=torch.float64)
    for part in row_chunks(samples.logits):
        columns, at_label = _columns(samples, part)
        mean = columns.sum(0) / n_classes
        sums += torch.stack([-mean.sum(), (at_label - mean).sum(), at_label.sum()])
    spread, above_mean, at_label_sum = (sums / n).tolist()
    return _Ends(spread, above_mean, is_separable=at_label_sum == 0)


def _status(ends: _Ends) -> Status:
    if ends.spread == 0:
        return "unidentified"
    if ends.is_separable:
        return "separable"
    if ends.above_mean <= _CHANCE_TOLERANCE * ends.spread:
        return "worse_than_chance"
    return "ok"


def _nll_limit(samples: _Samples, status: Status) -> float:
    """What the NLL falls to where there is no least one."""
    n, n_classes = samples.logits.shape
    if status != "separable":
        return math.log(n_classes)
    total = sum(
        float((_columns(samples, part)[0] == 0).sum(0).double().log().sum())
        for part in row_chunks(samples.logits)
    )
    return total / n


def _starting_log_b(samples: _Samples, ends: _Ends) -> float:
    """Near log b: solved roughly on evenly spaced rows where there are many."""
    plain = -math.log(ends.spread)
    stride = len(samples.labels) // _START_ROWS
    if stride < 2:
        return plain
    few = _Samples(samples.logits[::stride], samples.labels[::stride], samples.scale)
    ends_of_few = _ends(few)
    if _status(ends_of_few) != "ok":
        return plain
    point, step, _ = _solve(few, ends_of_few, plain, _START_LAST_STEP)
    return math.log(point.b) + step


def _solve(
    samples: _Samples, ends: _Ends, log_b: float, last_step: float
) -> tuple[_Point, float, int]:
    """A point where A(b) = B but for a last step in log b, that step, and the points it took."""
    target = ends.spread - ends.above_mean
    low, high = -math.inf, math.inf
    limit, previous = _FIRST_STEP_LIMIT, math.inf
    for iteration in itertools.count(1):
        point = _point(samples, math.exp(log_b))
        low, high = (log_b, high) if point.excess > 0 else (low, log_b)
        step = _newton_step(point.excess, point.fall, target)
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


def _newton_step(excess: float, fall: float, target: float) -> float:
    """Newton's step in log b on log A - log B, given A - B and -dA / dlog b."""
    level = target + excess
    if level <= 0 or fall <= 0:
        return -math.inf  # so far right that A has rounded to 0
    return math.log1p(excess / target) * level / fall


def _point(samples: _Samples, b: float) -> _Point:
    n = len(samples.labels)
    residual = samples.logits.new_empty(n, dtype=torch.float64)
    sums = samples.logits.new_zeros(3, dtype=torch.float64)
    for part in row_chunks(samples.logits):
        columns, at_label = _columns(samples, part)
        weighted = torch.mul(columns, b).exp_()
        total = weighted.sum(0)
        mean = weighted.mul_(columns).sum(0) / total
        square = weighted.mul_(columns).sum(0) / total
        residual[part] = at_label - mean
        nll = (total.log_() - b * at_label).sum()
        variance = (square - mean.square()).sum()
        sums += torch.stack([residual[part].sum(), variance, nll])
    excess, variance_sum, nll_sum = (sums / n).tolist()
    return _Point(b, excess, b * variance_sum, nll_sum, residual)


def _standard_error(point: _Point, n_draws: int) -> float | None:
    """Standard error of log T: sqrt(Var(s) / n) / (b mean Var_p z), s = z_y - E_p[z]."""
    n_samples = len(point.residual) // n_draws
    if n_samples < 2:
        return None
    # Draws of one sample are not independent: their mean is one observation.
    per_sample = point.residual.view(n_draws, n_samples).mean(0)
    return math.sqrt(float(per_sample.var(correction=0)) / n_samples) / point.fall
