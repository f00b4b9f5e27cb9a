"""What one calibration has found, and what it makes of logits."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from torch import Tensor

from ddcal_core.calibration.masked import TemperatureFit
from ddcal_core.calibration.scaling import (
    IsotonicScaling,
    VectorScaling,
    fit_isotonic,
    fit_vector_scaling,
)
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.models import write_json

Scaling = VectorScaling | IsotonicScaling
SCALING_FILE = "scaling.json"
# Below it a share counts as this: smaller than any that float32 can hold, and its log is finite.
SMALLEST_SHARE = 1e-300
_APPLY = {
    "none": "softmax(logits / temperature)",
    "ts": "softmax(logits / temperature)",
    "mts": "softmax(logits / temperature)",
    "vector": "softmax(weights * (logits - mean of the row) + biases)",
    "isotonic": "for each class, the line through (probabilities, shares) at its softmax "
    "probability; then divide each row by its sum, 1 / K where that is 0",
}
_NOT_FITTED: dict[str, Any] = {
    "method": "none",
    "fit_on": None,
    "mask_ratio": None,
    "status": "ok",
    "temperature": 1.0,
    "n": 0,
    "nll_before": None,
    "nll_after": None,
    "standard_error": None,
    "reached": None,
    "n_draws": None,
    "masked_accuracy": None,
    "clean_accuracy": None,
    "clean_signed_gap": None,
    "logit_spread": None,
    "relative_temperature": None,
    "failures": [],
    "found_by": None,
    "n_folds": None,
    "half_way_temperature": None,
    "factor": None,
    "left_out_accuracy": None,
}


@dataclass(frozen=True)
class Found:
    """What one calibration has found.

    Attributes:
        values: of the calibration: method, fit_on, status, temperature, ...
        scaling: of vector and isotonic, where there is one; a temperature stands in the values.
    """

    values: Mapping[str, Any]
    scaling: Scaling | None = None

    @property
    def apply(self) -> str | None:
        """How to get probabilities from logits; None where there is nothing to apply."""
        is_something = self.scaling is not None or self.values["temperature"] is not None
        return _APPLY[self.values["method"]] if is_something else None

    def scores(self, logits: Tensor) -> Tensor:
        """Logits whose softmax, at the temperature found if there is one, is what was found."""
        if self.scaling is None:
            return logits
        return self.scaling.apply(logits).clamp(min=SMALLEST_SHARE).log()

    def has_impossible(self, logits: Tensor, labels: Tensor) -> bool:
        """Whether some label has probability exactly 0, as an isotonic share can be."""
        if self.scaling is None:
            return False
        at_label = self.scaling.apply(logits).gather(1, labels.unsqueeze(1))
        return not bool((at_label > 0).all())


def not_fitted() -> dict[str, Any]:
    """Give the values of a network as it is: method none, T = 1."""
    return dict(_NOT_FITTED)


def described(fit: TemperatureFit) -> dict[str, Any]:
    """Give what a fit has found, in the values of a calibration."""
    return {
        "status": fit.status,
        "temperature": fit.temperature,
        "n": fit.n,
        "nll_before": finite_or_none(fit.nll_before),
        "nll_after": finite_or_none(fit.nll_after),
        "standard_error": fit.standard_error,
        "reached": None if fit.reached is None else finite_or_none(fit.reached),
    }


def fit_scaling(
    method: str, logits: Tensor, labels: Tensor
) -> tuple[dict[str, Any], Scaling | None]:
    """Fit more than one number.

    Args:
        method: "vector" or "isotonic".
        logits: (N, K).
        labels: int64 (N,).

    Returns:
        The values that say what was found, and the scaling where there is one.

    Raises:
        InvalidDataError: vector scaling did not converge.
        ValueError: what `fit_temperature` refuses.
    """
    if method == "isotonic":
        isotonic = fit_isotonic(logits, labels)
        return {"status": isotonic.status, "temperature": None, "n": isotonic.n}, isotonic.scaling
    vector = fit_vector_scaling(logits, labels)
    if vector.status == "not_converged":
        raise InvalidDataError(
            f"vector scaling: wanted a solution within {vector.iterations} steps of Newton's "
            "method; got none for these logits: leave vector out"
        )
    values = {
        "status": vector.status,
        "temperature": None,
        "n": vector.n,
        "nll_before": finite_or_none(vector.nll_before),
        "nll_after": finite_or_none(vector.nll_after),
    }
    return values, vector.scaling


def scaling_fields(scaling: Scaling | None) -> dict[str, Any]:
    """Give what scaling.json holds of a scaling: all that applying it takes; none, nothing."""
    match scaling:
        case VectorScaling(weights=weights, biases=biases):
            return {"weights": weights, "biases": biases}
        case IsotonicScaling(probabilities=probabilities, shares=shares):
            return {"probabilities": probabilities, "shares": shares}
        case None:
            return {}
        case _:
            assert_never(scaling)


def write_scaling(folder: Path, found: Found) -> tuple[Path, ...]:
    """Write scaling.json, from which `read_scaling` reads it back; without a scaling, nothing."""
    if found.scaling is None:
        return ()
    names = ("method", "fit_on", "status", "n")
    said = {name: found.values[name] for name in names}
    path = folder / SCALING_FILE
    write_json(path, {**said, "apply": found.apply, **scaling_fields(found.scaling)})
    return (path,)


def read_scaling(path: Path) -> Scaling:
    """Read a scaling back from its scaling.json.

    Raises:
        InvalidDataError: the file holds none.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        match held["method"]:
            case "vector":
                return VectorScaling(_numbers(held["weights"]), _numbers(held["biases"]))
            case "isotonic":
                knots = tuple(_numbers(row) for row in held["probabilities"])
                return IsotonicScaling(knots, tuple(_numbers(row) for row in held["shares"]))
            case method:
                raise ValueError(f"method {method!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidDataError(f"wanted a scaling in {path.name}; got: {error!r}") from error


def _numbers(values: list[float]) -> tuple[float, ...]:
    return tuple(map(float, values))


def finite_or_none(value: float) -> float | None:
    """Give a number as JSON can write it: null where it is infinite or not a number."""
    return value if math.isfinite(value) else None
