"""Calibrate logits and measure probabilities here, without a service.

    found = ddcal.local.calibrate(logits, labels)
    probabilities = found(test_logits)
    ddcal.local.measure(probabilities, test_labels)["expected_calibration_error"]

Arrays of any kind are taken that torch can read, NumPy's among them; the metrics themselves, which
take tensors, are those of `ddcal_core.metrics`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, assert_never

from ddcal.errors import MissingExtraError

try:
    import torch
    from torch import Tensor

    from ddcal_core import metrics
    from ddcal_core.calibration.ensemble import EnsembleScaling, fit_ensemble
    from ddcal_core.calibration.isotonic import IsotonicScaling, fit_isotonic
    from ddcal_core.calibration.temperature import fit_temperature
    from ddcal_core.calibration.vector_scaling import VectorScaling, fit_vector_scaling
    from ddcal_core.metrics import N_BINS
except ImportError as error:
    raise MissingExtraError("ddcal.local", "worker") from error

Method = Literal["ts", "vector", "isotonic", "ets"]
Array = Any
"""A tensor, a NumPy array, or nested lists of numbers."""

METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = MappingProxyType(
    {
        "accuracy": metrics.accuracy,
        "signed_calibration_gap": metrics.signed_calibration_gap,
        "smooth_calibration_error": metrics.smooth_calibration_error,
        "brier_score": metrics.brier_score,
        "area_under_risk_coverage": metrics.area_under_risk_coverage,
    }
)
"""Those of probabilities (N, K) and labels (N,) alone."""

BINNED_METRICS: Mapping[str, Callable[[Tensor, Tensor, int], float]] = MappingProxyType(
    {
        "expected_calibration_error": metrics.expected_calibration_error,
        "root_mean_square_calibration_error": metrics.root_mean_square_calibration_error,
        "adaptive_calibration_error": metrics.adaptive_calibration_error,
        "classwise_calibration_error": metrics.classwise_calibration_error,
    }
)
"""Those that also depend on a number of bins."""


@dataclass(frozen=True)
class Calibration:
    """What was found, to be applied to other logits of the same network.

    Attributes:
        method: ts, vector, isotonic or ets.
        status: "ok", or why there is nothing to apply or not the best (`ddcal_core.calibration`).
        temperature: T > 0 of ts; None where there is none.
        scaling: of vector, isotonic and ets.
        n: rows fitted on.
    """

    method: Method
    status: str
    temperature: float | None
    scaling: VectorScaling | IsotonicScaling | EnsembleScaling | None
    n: int

    def __call__(self, logits: Array) -> Tensor:
        """Calibrated probabilities, float64 (N, K), rows adding up to 1.

        Args:
            logits: (N, K), finite.

        Raises:
            ValueError: nothing was found that could be applied.
        """
        given = _scores(logits)
        if self.scaling is not None:
            return self.scaling.apply(given)
        if self.temperature is None:
            raise ValueError(f"wanted a calibration to apply; got none: {self.status}")
        return metrics.probabilities_at(given, self.temperature)


def calibrate(logits: Array, labels: Array, method: Method = "ts") -> Calibration:
    """Fit a calibration of a network to its logits on labelled data.

    Args:
        logits: (N, K), finite, not probabilities; not of the data the network was trained on.
        labels: (N,), integers from 0 to K - 1.
        method: ts (one temperature, exact), vector (a weight and a bias per class), isotonic (a
            rising function per class) or ets (tempered, plain and uniform probabilities mixed).

    Raises:
        ValueError: empty, misshapen, not finite, a label out of range, or no such method.
    """
    scores, classes = _scores(logits), _labels(labels)
    match method:
        case "ts":
            found = fit_temperature(scores, classes)
            return Calibration("ts", found.status, found.temperature, None, found.n)
        case "vector":
            vector = fit_vector_scaling(scores, classes)
            return Calibration("vector", vector.status, None, vector.scaling, vector.n)
        case "isotonic":
            rising = fit_isotonic(scores, classes)
            return Calibration("isotonic", rising.status, None, rising.scaling, rising.n)
        case "ets":
            ensemble = fit_ensemble(scores, classes)
            return Calibration("ets", ensemble.status, None, ensemble.scaling, ensemble.n)
        case _:
            assert_never(method)


def measure(probabilities: Array, labels: Array, *, n_bins: int = N_BINS) -> dict[str, float]:
    """How good and how calibrated predictions are, by the metric's name; fractions, not percent.

    Args:
        probabilities: (N, K), rows adding up to 1.
        labels: (N,), integers from 0 to K - 1.
        n_bins: of the errors that have bins.

    Raises:
        ValueError: empty, misshapen, no probabilities, or a label out of range.
    """
    given, classes = _scores(probabilities), _labels(labels)
    measured = {name: metric(given, classes) for name, metric in METRICS.items()}
    return measured | {
        name: metric(given, classes, n_bins) for name, metric in BINNED_METRICS.items()
    }


def _scores(values: Array) -> Tensor:
    tensor = torch.as_tensor(values)
    return tensor if tensor.is_floating_point() else tensor.double()


def _labels(values: Array) -> Tensor:
    tensor = torch.as_tensor(values)
    if tensor.is_floating_point() or tensor.dtype is torch.bool:
        raise ValueError(f"wanted integer labels, got {tensor.dtype}")
    return tensor.long()
