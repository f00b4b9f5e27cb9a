"""What every request is made of: the frozen base, names, seeds, references."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**31 - 1
MAX_VALIDATION_BY_DEFAULT = 2_000
JOB_REFERENCE = r"^job_[0-9a-z]{26}$"
SET_REFERENCE = r"^(set|job)_[0-9a-z]{26}$"
MODEL_REFERENCE = r"^(mdl|job)_[0-9a-z]{26}$"
CALIBRATION_REFERENCE = r"^(cal|job)_[0-9a-z]{26}$"


class Spec(BaseModel):
    """A frozen request: unknown fields, wrong types, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


DatasetName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="A data set's name as listed by GET /v1/datasets.",
        examples=["digits"],
    ),
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, description="Seeds everything that is drawn.")]
NValidation = Annotated[
    int | None,
    Field(
        ge=1,
        le=1_000_000,
        description=(
            "Real images cut from the training split by class and seed, never touched by "
            f"distillation or training. Default: one fifth, at most {MAX_VALIDATION_BY_DEFAULT}."
        ),
    ),
]
