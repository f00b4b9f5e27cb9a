"""What a report measures."""

from typing import Annotated

from pydantic import Field

from ddcal_core.specs.fields import Spec


class EvaluateSpec(Spec):
    """What the report measures on the test split."""

    n_bins: int = Field(15, ge=1, le=100, description="Equal-width bins of the ECE.")
    mts_ratios: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        max_length=50,
        description="Mask ratios of the MTS curve; empty for none.",
    )
