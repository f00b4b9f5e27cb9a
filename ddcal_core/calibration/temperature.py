"""Temperature scaling, solved exactly; and as the literature solves it, by name.

A temperature T turns logits z into probabilities softmax(z / T). The best one minimises the mean
negative log-likelihood (NLL), a convex problem in 1 / T, which may have no minimum:

    unidentified       constant rows: every T gives the same probabilities
    separable          every label has the largest logit: T -> 0
    worse_than_chance  labels no better than the row's mean: T -> infinity
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcal_core.calibration.temperature_solver import Root, RootStatus, solve_exactly
from ddcal_core.metrics import check_logits

Method = Literal["exact", "lbfgs_50", "lbfgs_200"]
Status = RootStatus | Literal["not_converged", "not_positive", "not_finite"]

_LBFGS_STEPS = {"lbfgs_50": 50, "lbfgs_200": 200}
_LBFGS_START = 1.5
_LBFGS_RATE = 0.01
_CONVERGED = 1e-3  # how near, relatively, an optimiser has to come to the exact temperature


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


def fit_temperature(
    logits: Tensor, labels: Tensor, *, n_draws: int = 1, method: Method = "exact"
) -> TemperatureFit:
    """The temperature of least NLL, exact to 1e-9 relative at any scale of the logits.

    Safeguarded Halley steps in log b on log A(b) = log B: from a few hundred rows to a few
    thousand, on all in float32 where that is safe, the last on all in float64. One copy of the
    logits is made.

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
        raise ValueError(f"wanted a method of exact, {', '.join(_LBFGS_STEPS)}; got {method}")
    check_logits(logits, labels)
    if n_draws < 1 or len(labels) % n_draws:
        raise ValueError(
            f"wanted a number of rows divisible by n_draws = {n_draws}, got {len(labels)}"
        )
    root = solve_exactly(logits, labels, n_draws)
    if method != "exact":
        return _fit_by_lbfgs(logits, labels, method, root)
    return TemperatureFit(
        temperature=root.temperature,
        status=root.status,
        n=len(labels),
        iterations=root.iterations,
        nll_before=root.nll_before,
        nll_after=root.nll_after,
        standard_error=root.standard_error,
    )


def _fit_by_lbfgs(logits: Tensor, labels: Tensor, method: Method, root: Root) -> TemperatureFit:
    """Where so many steps from 1.5 end, judged by the exact fit."""
    scores = logits if logits.dtype == torch.float64 else logits.float()
    temperature = nn.Parameter(scores.new_full((1,), _LBFGS_START))
    n_steps = _LBFGS_STEPS[method]
    # Without a line search, as in the literature's code: where that ends is what is to be seen.
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
    status = _status_reached(reached, root)
    is_usable = status in {"ok", "not_converged"}
    return TemperatureFit(
        temperature=reached if is_usable else None,
        status=status,
        n=len(labels),
        iterations=int(optimizer.state[temperature]["func_evals"]),
        nll_before=root.nll_before,
        nll_after=nll_after,
        standard_error=root.standard_error if status == "ok" else None,
        method=method,
        reached=reached,
    )


def _status_reached(reached: float, root: Root) -> Status:
    if not math.isfinite(reached):
        return "not_finite"
    if reached <= 0:
        return "not_positive"
    if root.temperature is None or abs(reached / root.temperature - 1) > _CONVERGED:
        return "not_converged"
    return "ok"
