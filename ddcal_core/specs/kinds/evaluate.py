"""`evaluate`: calibrated networks on the test images -> a report."""

from typing import Annotated

from pydantic import Field

from ddcal_core.specs.evaluation import EvaluateSpec
from ddcal_core.specs.fields import CALIBRATION_REFERENCE, Seed, Spec


class EvaluateParams(Spec):
    """The params of an `evaluate` job."""

    calibrations: list[Annotated[str, Field(pattern=CALIBRATION_REFERENCE)]] = Field(
        min_length=1,
        max_length=100,
        description="Calibrations, or calibrate jobs for all of theirs; all of one data set.",
    )
    seed: Seed = 0
    evaluate: EvaluateSpec = Field(EvaluateSpec(), description="What the report measures.")
