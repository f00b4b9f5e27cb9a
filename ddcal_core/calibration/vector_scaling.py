"""Vector scaling: a weight and a bias for each class.

It can change predictions, unlike a temperature, and needs many more labels than one number.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.calibration.temperature_solver import RootStatus, solve_exactly
from ddcal_core.metrics import check_logits
from ddcal_core.metrics.class_major import row_chunks
from ddcal_core.metrics.scores import check_classes

VectorStatus = RootStatus | Literal["not_converged"]

_LAST_DECREMENT = 1e-12
_MOST_STEPS = 100
_SUFFICIENT = 1e-4  # share of the promised decrease that a step has to bring (Armijo's rule)
_ROUNDING = 1e-14  # near the minimum the decrease drowns in the objective's rounding


@dataclass(frozen=True)
class VectorScaling:
    """Probabilities softmax(w z + v) with a weight and a bias for each class.

    Attributes:
        weights: w, K of them, for logits shifted to mean 0 in each row.
        biases: v, K of them, with sum 0.
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]

    def apply(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities.

        Args:
            logits: (N, K), finite, of as many classes as were fitted.

        Returns:
            float64 (N, K), rows summing to 1, on the logits' device.

        Raises:
            ValueError: the classes are others in number.
        """
        check_classes(logits, len(self.weights))
        weights, biases = logits.new_tensor([self.weights, self.biases], dtype=torch.float64)
        return torch.softmax(_centred(logits) * weights + biases, 1)


@dataclass(frozen=True)
class VectorFit:
    """A vector scaling, or why there is none.

    Attributes:
        scaling: None unless status is "ok".
        status: "ok"; of the temperature where that has none (see `temperature`), as there is no
            scale to start from then; or "not_converged".
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


@dataclass(frozen=True, eq=False)
class _Objective:
    """The penalised mean NLL at parameters (u, v), with gradient (2K,) and Hessian (2K, 2K)."""

    value: float
    nll: float
    gradient: Tensor
    hessian: Tensor


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
    parameters = logits.new_zeros(2 * n_classes, dtype=torch.float64)
    scale, ridge = 1 / root.temperature, prior_precision / n
    parameters, nll_after, steps = _minimise(logits, labels, parameters, scale, ridge)
    is_solved = steps <= _MOST_STEPS
    weights = tuple(((1 + parameters[:n_classes]) * scale).tolist())
    biases = tuple(parameters[n_classes:].tolist())
    return VectorFit(
        scaling=VectorScaling(weights, biases) if is_solved else None,
        status="ok" if is_solved else "not_converged",
        temperature=root.temperature,
        n=n,
        iterations=min(steps, _MOST_STEPS),
        nll_before=root.nll_before,
        nll_after=nll_after if is_solved else root.nll_before,
    )


def _centred(logits: Tensor) -> Tensor:
    wide = logits.double()
    return wide - wide.mean(1, keepdim=True)


def _minimise(
    logits: Tensor, labels: Tensor, parameters: Tensor, scale: float, ridge: float
) -> tuple[Tensor, float, int]:
    """Where the objective is least, the mean NLL there, and steps; too many where not found."""
    at = _objective(logits, labels, parameters, scale, ridge)
    for step in range(1, _MOST_STEPS + 1):
        # The ridge keeps the Hessian regular, for classes without a label as well.
        direction = -torch.linalg.solve(at.hessian, at.gradient)
        decrement = -float(direction @ at.gradient)
        share = 1.0
        while True:
            moved = parameters + share * direction
            there = _objective(logits, labels, moved, scale, ridge)
            wanted = at.value - _SUFFICIENT * share * decrement
            if there.value <= wanted + _ROUNDING * max(1.0, abs(at.value)):
                break
            share /= 2
        parameters, at = moved, there
        if decrement <= _LAST_DECREMENT:
            return parameters, at.nll, step
    return parameters, at.nll, _MOST_STEPS + 1


def _objective(
    logits: Tensor, labels: Tensor, parameters: Tensor, scale: float, ridge: float
) -> _Objective:
    n, n_classes = logits.shape
    stretch, biases = parameters.view(2, n_classes)
    nll = parameters.new_zeros(())
    gradient = parameters.new_zeros((2, n_classes))
    hessian = parameters.new_zeros((2 * n_classes, 2 * n_classes))
    for part in row_chunks(logits):
        inputs = _centred(logits[part]) * scale
        scores = inputs * (1 + stretch) + biases
        nll += functional.cross_entropy(scores, labels[part], reduction="sum")
        p = torch.softmax(scores, 1)
        excess = p - functional.one_hot(labels[part], n_classes)
        gradient += torch.stack([(excess * inputs).sum(0), excess.sum(0)])
        # Rows (p z, p): the Hessian is the sum of diag(p) x x' less that of their outer products.
        weighted = torch.cat([p * inputs, p], 1)
        hessian -= weighted.T @ weighted
        square, cross = (p * inputs * inputs).sum(0), (p * inputs).sum(0)
        blocks = torch.stack([torch.stack([square, cross]), torch.stack([cross, p.sum(0)])])
        hessian += torch.diag_embed(blocks).transpose(1, 2).reshape(hessian.shape)
    mean = nll / n
    penalty = ridge / 2 * parameters.square().sum()
    return _Objective(
        value=float(mean + penalty),
        nll=float(mean),
        gradient=gradient.flatten() / n + ridge * parameters,
        hessian=hessian / n + ridge * torch.eye(len(parameters), dtype=torch.float64).to(hessian),
    )
