"""What one calibration has found, and what it makes of logits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, assert_never

from torch import Tensor

from ddcal_core.calibration.ensemble import EnsembleScaling, fit_ensemble
from ddcal_core.calibration.isotonic import IsotonicScaling, fit_isotonic
from ddcal_core.calibration.masked import MaskedFit, TemperatureFit
from ddcal_core.calibration.vector_scaling import VectorScaling, fit_vector_scaling
from ddcal_core.formats.calibrations import (
    CalibrationFindings,
    CalibrationMethod,
    EnsembleScalingFile,
    FitOn,
    Fitted,
    IsotonicScalingFile,
    ScalingFile,
    VectorScalingFile,
    read_scaling_file,
)
from ddcal_core.formats.records import write_json
from ddcal_core.specs.masks import MaskSpec

Scaling = VectorScaling | IsotonicScaling | EnsembleScaling
ScalingMethod = Literal["vector", "isotonic", "ets"]
ValuesT_co = TypeVar("ValuesT_co", bound=CalibrationFindings, covariant=True)
SCALING_FILE = "scaling.json"
# Below it a share counts as this: smaller than any that float32 can hold, and its log is finite.
SMALLEST_SHARE = 1e-300
APPLY_WORDS: Mapping[CalibrationMethod, str] = {
    "none": "softmax(logits / temperature)",
    "ts": "softmax(logits / temperature)",
    "mts": "softmax(logits / temperature)",
    "vector": "softmax(weights * (logits - mean of the row) + biases)",
    "isotonic": "for each class, the line through (probabilities, shares) at its softmax "
    "probability; then divide each row by its sum, 1 / K where that is 0",
    "ets": "ensemble_weights[0] * softmax(logits / ensemble_temperature) + ensemble_weights[1] * "
    "softmax(logits) + ensemble_weights[2] / K",
}
_WITH_MASKS = ", over the classes less than masked_gap below the row's largest logit alone"


@dataclass(frozen=True)
class Found(Generic[ValuesT_co]):
    """What one calibration has found.

    Attributes:
        values: method, fit_on, status, temperature, ...
        scaling: of vector, isotonic and ets, where there is one; a temperature stands in the
            values.
    """

    values: ValuesT_co
    scaling: Scaling | None = None

    @property
    def apply(self) -> str | None:
        """How to get probabilities from logits; None where there is nothing to apply."""
        is_something = self.scaling is not None or self.values.temperature is not None
        if not is_something:
            return None
        has_masks = isinstance(self.scaling, VectorScaling) and self.scaling.masked_gap is not None
        return APPLY_WORDS[self.values.method] + (_WITH_MASKS if has_masks else "")

    def scores(self, logits: Tensor) -> Tensor:
        """Give logits whose softmax, at the temperature found if there is one, is what was found.

        Args:
            logits: of the network, floating point (N, K).

        Returns:
            (N, K): the same where there is no scaling, else logarithms of probabilities, finite.
        """
        if self.scaling is None:
            return logits
        # A share can be exactly 0: `has_impossible` tells whether its logarithm was asked for.
        return self.scaling.apply(logits).clamp(min=SMALLEST_SHARE).log()

    def has_impossible(self, logits: Tensor, labels: Tensor) -> bool:
        """Whether some label has probability exactly 0, as an isotonic share can be.

        Args:
            logits: of the network, floating point (N, K).
            labels: int64 (N,).
        """
        if self.scaling is None:
            return False
        at_label = self.scaling.apply(logits).gather(1, labels.unsqueeze(1))
        return not bool((at_label > 0).all())


def not_fitted() -> Found[CalibrationFindings]:
    """Give a network as it is: method none, T = 1."""
    return Found(CalibrationFindings())


def described(fit: TemperatureFit, fit_on: FitOn) -> Fitted:
    """Give what temperature scaling has found, as a calibration says it."""
    return _described(fit, "ts", fit_on)


def described_masked(found: MaskedFit, fit_on: FitOn, mask: MaskSpec) -> Fitted:
    """Give what masked temperature scaling has found, as a calibration says it."""
    return _described(found.fit, "mts", fit_on, masked=found, mask_ratio=mask.ratio)


def _described(
    fit: TemperatureFit,
    method: Literal["ts", "mts"],
    fit_on: FitOn,
    *,
    masked: MaskedFit | None = None,
    mask_ratio: float | None = None,
) -> Fitted:
    return Fitted(
        method=method,
        fit_on=fit_on,
        mask_ratio=mask_ratio,
        n_draws=None if masked is None else masked.n_draws,
        masked_accuracy=None if masked is None else masked.masked_accuracy,
        status=fit.status,
        temperature=fit.temperature,
        n=fit.n,
        nll_before=finite_or_none(fit.nll_before),
        nll_after=finite_or_none(fit.nll_after),
        standard_error=fit.standard_error,
        reached=None if fit.reached is None else finite_or_none(fit.reached),
    )


def fit_scaling(
    method: ScalingMethod, logits: Tensor, labels: Tensor, fit_on: FitOn
) -> tuple[Fitted, Scaling | None]:
    """Fit more than one number.

    Args:
        method: of the calibration.
        logits: (N, K).
        labels: int64 (N,).
        fit_on: what they are of.

    Returns:
        What was found, and the scaling where there is one.

    Raises:
        ValueError: what `fit_temperature` refuses.
    """
    match method:
        case "isotonic":
            isotonic = fit_isotonic(logits, labels)
            found = Fitted(
                method=method, fit_on=fit_on, status=isotonic.status, temperature=None, n=isotonic.n
            )
            return found, isotonic.scaling
        case "vector":
            vector = fit_vector_scaling(logits, labels)
            found = Fitted(
                method=method,
                fit_on=fit_on,
                status=vector.status,
                temperature=None,
                n=vector.n,
                nll_before=finite_or_none(vector.nll_before),
                nll_after=finite_or_none(vector.nll_after),
            )
            return found, vector.scaling
        case "ets":
            ensemble = fit_ensemble(logits, labels)
            found = Fitted(
                method=method,
                fit_on=fit_on,
                status=ensemble.status,
                temperature=None,
                n=ensemble.n,
                nll_before=finite_or_none(ensemble.nll_before),
                nll_after=finite_or_none(ensemble.nll_after),
            )
            return found, ensemble.scaling
        case _:
            assert_never(method)


def write_scaling(folder: Path, found: Found[CalibrationFindings]) -> tuple[Path, ...]:
    """Write scaling.json, from which `read_scaling` reads it back; without a scaling, nothing."""
    if found.scaling is None:
        return ()
    path = folder / SCALING_FILE
    write_json(path, _scaling_file(found.values, found.scaling, found.apply).as_json())
    return (path,)


def _scaling_file(values: CalibrationFindings, scaling: Scaling, apply: str | None) -> ScalingFile:
    assert values.fit_on is not None
    match scaling:
        case VectorScaling(weights=weights, biases=biases, masked_gap=gap):
            return VectorScalingFile(
                fit_on=values.fit_on,
                status=values.status,
                n=values.n,
                apply=apply,
                weights=weights,
                biases=biases,
                masked_gap=gap,
            )
        case IsotonicScaling(probabilities=probabilities, shares=shares):
            return IsotonicScalingFile(
                fit_on=values.fit_on,
                status=values.status,
                n=values.n,
                apply=apply,
                probabilities=probabilities,
                shares=shares,
            )
        case EnsembleScaling(ensemble_temperature=temperature, ensemble_weights=parts):
            return EnsembleScalingFile(
                fit_on=values.fit_on,
                status=values.status,
                n=values.n,
                apply=apply,
                ensemble_temperature=temperature,
                ensemble_weights=parts,
            )
        case _:
            assert_never(scaling)


def read_scaling(path: Path) -> Scaling:
    """Read a scaling back from its scaling.json.

    Raises:
        InvalidDataError: the file holds none.
    """
    match read_scaling_file(path):
        case VectorScalingFile(weights=weights, biases=biases, masked_gap=gap):
            return VectorScaling(weights, biases, gap)
        case IsotonicScalingFile(probabilities=probabilities, shares=shares):
            return IsotonicScaling(probabilities, shares)
        case EnsembleScalingFile(ensemble_temperature=temperature, ensemble_weights=parts):
            return EnsembleScaling(temperature, parts)
        case unknown:
            assert_never(unknown)


def finite_or_none(value: float) -> float | None:
    """Give a number as JSON can write it: null where it is infinite or not a number."""
    return value if math.isfinite(value) else None
