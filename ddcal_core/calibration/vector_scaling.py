"""Vector scaling: a weight and a bias for each class.

It can change predictions, unlike a temperature, and needs many more labels than one number.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.calibration.masked_classes import gaps_of, masked_gap
from ddcal_core.calibration.temperature_solver import RootStatus, solve_exactly
from ddcal_core.metrics import check_logits
from ddcal_core.metrics.class_major import row_chunks
from ddcal_core.metrics.scores import check_classes

VectorStatus = RootStatus | Literal["not_converged"]

_LAST_DECREMENT = 1e-12
_MOST_STEPS = 100
_MOST_HALVINGS = 60
_LARGEST_ERROR = 1e-9  # of the objective, relative above 1 nat, for a solution to be called one
_SUFFICIENT = 1e-4  # share of the promised decrease that a step has to bring (Armijo's rule)
_LARGEST_GAP = 1e300  # sums of more leave float64
_ROUNDING = 1e-14  # near the minimum the decrease drowns in the objective's rounding


@dataclass(frozen=True)
class VectorScaling:
    """Probabilities softmax(w z + v) with a weight and a bias for each class.

    Attributes:
        weights: w, K of them, for logits shifted to mean 0 in each row.
        biases: v, K of them, with sum 0.
        masked_gap: values that far below their row's largest, or farther, are masks of a class:
            no part of the row's mean, and of probability 0; None where the rows fitted on had none.
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    masked_gap: float | None = None

    def apply(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities.

        Args:
            logits: (N, K), finite, of as many classes as were fitted.

        Returns:
            float64 (N, K), rows summing to 1, on the logits' device.

        Raises:
            ValueError: the classes are others in number.
        """
        return torch.softmax(self.scores(logits), 1)

    def scores(self, logits: Tensor) -> Tensor:
        """W z + v, float64 (N, K), -inf at masks; see `apply`."""
        check_classes(logits, len(self.weights))
        weights, biases = logits.new_tensor([self.weights, self.biases], dtype=torch.float64)
        inputs, is_masked = _centred(logits, self.masked_gap)
        # Weights on inputs of any size may leave float64.
        scores: Tensor = (inputs * weights + biases).clamp(min=-_LARGEST_GAP, max=_LARGEST_GAP)
        return scores.masked_fill_(is_masked, -math.inf)


@dataclass(frozen=True)
class VectorFit:
    """A vector scaling, or why there is none.

    Attributes:
        scaling: what was found; None where there is no temperature.
        status: "ok", the least to 1e-9 nats; of the temperature where that has none (see
            `temperature`), as there is no scale to start from then; or "not_converged": the
            scaling is where Newton's method stopped, which is not known to be the least.
        temperature: the exact one, w = 1 / T and v = 0 being where regularisation pulls to.
        n: rows of logits fitted on.
        iterations: Newton steps.
        nll_before: mean NLL at w = 1, v = 0, in nats.
        nll_after: mean NLL, without the regularisation; nll_before where there is no scaling.
    """

    scaling: VectorScaling | None
    status: VectorStatus
    temperature: float | None
    n: int
    iterations: int
    nll_before: float
    nll_after: float


def fit_vector_scaling(
    logits: Tensor, labels: Tensor, *, prior_precision: float = 1.0
) -> VectorFit:
    """Vector scaling of least penalised NLL, solved by Newton's method.

    Rows are shifted to mean 0, so that what softmax ignores does not matter. With T the exact
    temperature, w = (1 + u) / T, and what is made least is

        mean NLL + prior_precision / (2 N) (sum_k u_k^2 + sum_k v_k^2),

    as if u and v were normal with that precision: strictly convex, so that there is one solution
    also for classes without a label or told apart without error. Newton steps with halving go on
    until the decrease they promise is below 1e-12 nats; the last is still taken, so that the
    error left goes with the square of that.

    Args:
        logits: (N, K), N >= 1, floating point, finite, not probabilities.
        labels: int64 (N,), 0 to K - 1.
        prior_precision: above 0; 1 is worth about one label a parameter.

    Returns:
        The scaling, or the status that says why there are none.

    Raises:
        ValueError: what `fit_temperature` refuses, or a precision not in (0, inf).

    Source:
        Guo et al., ICML 2017, without regularisation; pulling to the temperature is our own.
    """
    check_logits(logits, labels)
    if not 0 < prior_precision < math.inf:
        raise ValueError(f"wanted a finite precision above 0, got {prior_precision}")
    n, n_classes = logits.shape
    root = solve_exactly(logits, labels)
    if root.temperature is None:
        nll = root.nll_before
        return VectorFit(None, root.status, None, n, 0, nll, nll)
    gap = masked_gap(logits, labels)
    problem = _Problem(
        logits=logits,
        labels=labels,
        scale=1 / root.temperature,
        ridge=prior_precision / n,
        masked_gap=gap if math.isfinite(gap) else None,
    )
    found = _minimise(problem)
    stretch, biases = found.at.parameters.view(2, n_classes)
    weights = tuple(((1 + stretch) * problem.scale).tolist())
    scaling = VectorScaling(weights, tuple(biases.tolist()), problem.masked_gap)
    nll = _nll(scaling, logits, labels)
    # Inputs so large that they see the rounding of a weight ask for more digits than it has.
    is_as_found = abs(nll - found.at.nll) <= _LARGEST_ERROR * max(1.0, found.at.nll)
    return VectorFit(
        scaling=scaling,
        status="ok" if found.is_least and is_as_found else "not_converged",
        temperature=root.temperature,
        n=n,
        iterations=found.steps,
        nll_before=root.nll_before,
        nll_after=nll,
    )


def _nll(scaling: VectorScaling, logits: Tensor, labels: Tensor) -> float:
    total = sum(
        float(functional.cross_entropy(scaling.scores(logits[part]), labels[part], reduction="sum"))
        for part in row_chunks(logits)
    )
    return total / len(labels)


def _centred(logits: Tensor, gap: float | None) -> tuple[Tensor, Tensor]:
    """Rows with mean 0 over what is not masked, float64 and 0 at masks; and what is masked."""
    gaps = gaps_of(logits)
    is_masked = torch.zeros_like(gaps, dtype=torch.bool) if gap is None else gaps >= gap
    kept = -gaps.clamp(max=_LARGEST_GAP).masked_fill_(is_masked, 0.0)
    mean = kept.sum(1, keepdim=True) / (~is_masked).sum(1, keepdim=True)
    return (kept - mean).masked_fill_(is_masked, 0.0), is_masked


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is minimised: logits (N, K) and labels, w = (1 + u) scale, ridge of u and v."""

    logits: Tensor
    labels: Tensor
    scale: float
    ridge: float
    masked_gap: float | None


@dataclass(frozen=True, eq=False)
class _Point:
    """The penalised mean NLL at parameters (u, v), with gradient (2K,) and Hessian (2K, 2K)."""

    parameters: Tensor
    value: float
    nll: float
    gradient: Tensor
    hessian: Tensor


class _Minimum(NamedTuple):
    at: _Point
    steps: int
    is_least: bool


def _minimise(problem: _Problem) -> _Minimum:
    """Newton's method with halving, until what a step promises, or can still bring, is nothing."""
    at = _point(problem, problem.logits.new_zeros(2 * problem.logits.shape[1], dtype=torch.float64))
    steps = 0
    while steps < _MOST_STEPS:
        steps += 1
        # The ridge keeps the Hessian regular, for classes without a label as well.
        factor, failure = torch.linalg.cholesky_ex(at.hessian)
        if int(failure) or not bool(at.gradient.isfinite().all()):
            break
        direction = -torch.cholesky_solve(at.gradient[:, None], factor)[:, 0]
        decrement = -float(direction @ at.gradient)
        there = _descended(problem, at, direction, decrement)
        if there is None:
            break
        at = there
        if decrement <= _LAST_DECREMENT:
            break
    # What is minimised is convex with curvature of at least the ridge: so far is it at most above
    # its least value, however the steps went.
    error = float(at.gradient.square().sum()) / (2 * problem.ridge)
    return _Minimum(at, steps, error <= _LARGEST_ERROR * max(1.0, abs(at.value)))


def _descended(problem: _Problem, at: _Point, direction: Tensor, decrement: float) -> _Point | None:
    """The first point on the way that is lower by enough; None where there is none."""
    for halvings in range(_MOST_HALVINGS):
        share = 0.5**halvings
        there = _point(problem, at.parameters + share * direction)
        wanted = at.value - _SUFFICIENT * share * decrement
        if there.value <= wanted + _ROUNDING * max(1.0, abs(at.value)):
            return there
    return None


def _point(problem: _Problem, parameters: Tensor) -> _Point:
    n, n_classes = problem.logits.shape
    stretch, biases = parameters.view(2, n_classes)
    nll = parameters.new_zeros(())
    gradient = parameters.new_zeros((2, n_classes))
    hessian = parameters.new_zeros((2 * n_classes, 2 * n_classes))
    for part in row_chunks(problem.logits):
        inputs, is_masked = _centred(problem.logits[part], problem.masked_gap)
        inputs *= problem.scale
        scores = (inputs * (1 + stretch) + biases).masked_fill_(is_masked, -math.inf)
        labels = problem.labels[part]
        nll += functional.cross_entropy(scores, labels, reduction="sum")
        p, rest = _probabilities_and_rests(scores)
        # By the rest, as a label's p - 1 rounds to 0 where large inputs still count it.
        excess = p.scatter(1, labels[:, None], -rest.gather(1, labels[:, None]))
        gradient += torch.stack([(excess * inputs).sum(0), excess.sum(0)])
        hessian += _curvature(p, rest, inputs)
    mean = nll / n
    penalty = problem.ridge / 2 * parameters.square().sum()
    return _Point(
        parameters=parameters,
        value=float(mean + penalty),
        nll=float(mean),
        gradient=gradient.flatten() / n + problem.ridge * parameters,
        hessian=hessian / n + problem.ridge * torch.eye(len(parameters)).to(hessian),
    )


def _probabilities_and_rests(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax p of each row, and 1 - p without the rounding where p is nearly 1."""
    top = scores.argmax(1, keepdim=True)
    weights = (scores - scores.gather(1, top)).exp()
    others = weights.scatter(1, top, 0.0).sum(1, keepdim=True)
    total = 1 + others
    rest = (total - weights).scatter(1, top, others)
    return weights / total, rest / total


def _curvature(p: Tensor, rest: Tensor, inputs: Tensor) -> Tensor:
    """Sum over rows of (diag p - p p') times (z, 1)(z, 1)', (2K, 2K)."""
    n_classes = inputs.shape[1]
    weighted = torch.cat([p * inputs, p], 1)
    curvature = -(weighted.T @ weighted)
    # Not as a difference of squares, which for large inputs has no digit left.
    spread = p * rest
    curvature.diagonal().copy_(torch.cat([(spread * inputs * inputs).sum(0), spread.sum(0)]))
    for side in (n_classes, -n_classes):
        curvature.diagonal(side).copy_((spread * inputs).sum(0))
    return curvature
