"""Ensemble temperature scaling (ETS): tempered, plain and uniform probabilities, mixed.

It changes no prediction: all three parts put the classes of a row in the same order.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ddcal_core.calibration.temperature_solver import RootStatus, solve_exactly
from ddcal_core.metrics import check_logits
from ddcal_core.metrics.scores import check_classes

EnsembleStatus = RootStatus | Literal["not_converged"]

N_PARTS = 3
CONVERGED = 1e-6
"""Mean NLL, in nats, that weights may lie above the least of all."""
_LEAST = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class EnsembleScaling:
    """w_1 softmax(z / T) + w_2 softmax(z) + w_3 / K.

    Attributes:
        ensemble_temperature: T > 0.
        ensemble_weights: w, at least 0, adding up to 1.
    """

    ensemble_temperature: float
    ensemble_weights: tuple[float, float, float]

    def apply(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities.

        Args:
            logits: (N, K), finite.

        Returns:
            float64 (N, K), rows summing to 1, on the logits' device.

        Raises:
            ValueError: logits that are not finite, or not (N, K).
        """
        check_classes(logits, logits.shape[-1])
        wide = logits.double()
        tempered, plain, uniform = self.ensemble_weights
        mixed = tempered * torch.softmax(wide / self.ensemble_temperature, 1)
        return mixed + plain * torch.softmax(wide, 1) + uniform / logits.shape[1]


@dataclass(frozen=True)
class EnsembleFit:
    """A fitted ensemble, or why there is none.

    Attributes:
        scaling: None where no temperature is best (see `fit_temperature`).
        status: "ok"; that of the temperature; or "not_converged", where the weights leave a mean
            NLL more than 1e-6 above the least.
        n: rows of logits fitted on.
        nll_before: mean NLL at T = 1, in nats.
        nll_after: mean NLL of the ensemble; without one of the limit that the temperature has.
    """

    scaling: EnsembleScaling | None
    status: EnsembleStatus
    n: int
    nll_before: float
    nll_after: float


def fit_ensemble(logits: Tensor, labels: Tensor) -> EnsembleFit:
    """The exact temperature, then the three weights of least NLL, a concave problem.

    Args:
        logits: (N, K), N >= 1, floating point, finite, not probabilities.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        The ensemble, or the status that says why there is none.

    Raises:
        ValueError: what `fit_temperature` refuses.

    Source:
        Zhang, Kailkhura and Han, ICML 2020 (Mix-n-Match), section 3.2. Their code bounds T by 5
        and takes the squared error by default; here both are of the NLL, and T is exact.
    """
    check_logits(logits, labels)
    found = solve_exactly(logits, labels, 1)
    if found.temperature is None:
        return EnsembleFit(None, found.status, len(labels), found.nll_before, found.nll_after)
    parts = _parts_at_label(logits, labels, found.temperature)
    weights = _best_weights(parts)
    mixed = np.maximum(parts @ weights, _LEAST)
    # By concavity no weights are better by more than this (Karush-Kuhn-Tucker).
    left = float((parts / mixed[:, None]).mean(0).max() - 1)
    scaling = EnsembleScaling(found.temperature, (weights[0], weights[1], weights[2]))
    status: EnsembleStatus = "ok" if left <= CONVERGED else "not_converged"
    nll = -float(np.log(mixed).mean())
    return EnsembleFit(scaling, status, len(labels), found.nll_before, nll)


def _parts_at_label(logits: Tensor, labels: Tensor, temperature: float) -> np.ndarray:
    """Probability of each row's label, tempered, plain and uniform: float64 (N, 3)."""
    wide = logits.double()
    places = labels.unsqueeze(1)
    tempered = torch.softmax(wide / temperature, 1).gather(1, places)
    plain = torch.softmax(wide, 1).gather(1, places)
    uniform = torch.full_like(plain, 1 / logits.shape[1])
    return torch.cat([tempered, plain, uniform], 1).cpu().numpy()


def _best_weights(parts: np.ndarray) -> np.ndarray:
    """The weights of most mean log(parts @ weights), by sequential quadratic programming."""
    # Imported by need: .2 s that few jobs need.
    from scipy.optimize import minimize  # noqa: PLC0415

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(parts @ weights, _LEAST)
        return -float(np.log(mixed).mean()), -(parts / mixed[:, None]).mean(0)

    found = minimize(
        loss,
        np.full(N_PARTS, 1 / N_PARTS),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * N_PARTS,
        constraints={
            "type": "eq",
            "fun": lambda weights: weights.sum() - 1,
            "jac": lambda _weights: np.ones(N_PARTS),
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    weights = np.clip(found.x, 0, 1)
    return np.asarray(weights / weights.sum())
