"""`calibrate`: trained networks -> a temperature each, or why there is none."""

from typing import Annotated

from pydantic import Field

from ddcal_core.specs.calibration import CalibrationSpecs
from ddcal_core.specs.fields import MODEL_REFERENCE, Seed, Spec


class CalibrateParams(Spec):
    """The params of a `calibrate` job."""

    models: list[Annotated[str, Field(pattern=MODEL_REFERENCE)]] = Field(
        min_length=1,
        max_length=100,
        description="Models, or train jobs for all their models.",
    )
    seed: Seed = 0
    calibrate: CalibrationSpecs = Field(description="How each network is calibrated.")
