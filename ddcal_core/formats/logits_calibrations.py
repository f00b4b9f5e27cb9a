"""What a calibration of uploaded logits has found, as results and files hold it.

Apart from `calibrations`, so that what is asked of logits decides no other job's recipe.
"""

from typing import Any, Literal

from ddcal_core.formats.calibrations import CalibrationFindings
from ddcal_core.formats.records import Record
from ddcal_core.specs.calibration import Optimiser
from ddcal_core.specs.kinds.calibrate_logits import LogitsCalibration, LogitsTemperatureScaling


class LogitsCalibrationValues(CalibrationFindings):
    """What a calibration of uploaded logits has found.

    Attributes:
        model_id: None, as there is no network here.
        logits: their name.
        dataset: likewise.
        spec: what was asked for.
    """

    model_id: None = None
    logits: str
    dataset: str
    spec: LogitsCalibration

    @property
    def optimiser(self) -> Optimiser | None:
        """What solved a temperature; None where nobody could choose."""
        return self.spec.optimiser if isinstance(self.spec, LogitsTemperatureScaling) else None


class MeasuredNumbers(Record):
    """The numbers that a calibration of uploaded logits comes to, as its file has them."""

    accuracy: float
    nll: float | None
    brier: float
    ece: float
    signed_gap: float


class LogitsCalibrationFile(LogitsCalibrationValues):
    """temperature.json and scaling.json of uploaded logits: found, how to apply it, what it gives.

    Attributes:
        weights: of vector scaling, K of them.
        biases: likewise.
        masked_gap: likewise, see `VectorScalingFile`.
        probabilities: of isotonic regression, for each class where its line has its knots.
        shares: likewise, the values there.
        ensemble_temperature: of ensemble temperature scaling, of its tempered part.
        ensemble_weights: likewise, of its tempered, plain and uniform part.
        apply: logits -> probabilities, as a formula or in words; None where nothing was found.
        measured_on: "test rows" or "fit rows".
        measured: the numbers on these.
    """

    weights: tuple[float, ...] | None = None
    biases: tuple[float, ...] | None = None
    masked_gap: float | None = None
    probabilities: tuple[tuple[float, ...], ...] | None = None
    shares: tuple[tuple[float, ...], ...] | None = None
    ensemble_temperature: float | None = None
    ensemble_weights: tuple[float, float, float] | None = None
    apply: str | None
    measured_on: Literal["test rows", "fit rows"]
    measured: MeasuredNumbers

    def as_json(self) -> dict[str, Any]:
        """Give what there is of the fields; temperature and apply also where there is none."""
        said = {"temperature", "apply"}
        fields = super().as_json().items()
        return {name: value for name, value in fields if value is not None or name in said}
