"""`calibrate` on uploaded logits: fit, compare and report in one job."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.calibration import NoCalibration, Optimiser
from ddcal_core.specs.fields import Seed, Spec
from ddcal_core.specs.logits import LogitsName


class LogitsTemperatureScaling(Spec):
    """The temperature of least NLL, solved exactly unless told not to."""

    method: Literal["ts"]
    optimiser: Optimiser = "exact"


class LogitsScaling(Spec):
    """vector: a weight and a bias per class; isotonic: a rising function per class; ets: a mixture.

    The first two need far more labels than one number does.
    """

    method: Literal["vector", "isotonic", "ets"] = Field(description="Which of the three.")


LogitsCalibration = Annotated[
    NoCalibration | LogitsTemperatureScaling | LogitsScaling,
    Field(
        discriminator="method",
        description="Without images and a network there is nothing to mask, hence no mts.",
    ),
]


class LogitsEvaluation(Spec):
    """What a report on uploaded logits measures."""

    n_bins: int = Field(15, ge=1, le=100, description="Number of equal-width bins of the ECE.")


class CalibrateLogitsParams(Spec):
    """The params of a `calibrate` job on uploaded logits: fit, compare and report in one job."""

    logits: LogitsName
    seed: Seed = 0
    calibrate: list[LogitsCalibration] = Field(
        [NoCalibration(method="none"), LogitsTemperatureScaling(method="ts")],
        min_length=1,
        max_length=8,
        description="Each method and optimiser at most once; all are fitted on logits_fit only. "
        "Default: none and ts.",
    )
    evaluate: LogitsEvaluation = Field(LogitsEvaluation(), description="What the report measures.")
