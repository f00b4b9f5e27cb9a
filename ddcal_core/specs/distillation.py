"""How a data set is distilled: one spec a method, told apart by `method`."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from ddcal_core.specs.matching import DcSpec, DmSpec, DsaSpec
from ddcal_core.specs.trajectories import MttSpec, RtpSpec

DEFAULT_METHOD = "dm"


def _with_method(spec: object) -> object:
    if isinstance(spec, dict) and "method" not in spec:
        return {**spec, "method": DEFAULT_METHOD}
    return spec


DistillSpec = Annotated[
    Annotated[DmSpec | DcSpec | DsaSpec | MttSpec | RtpSpec, Field(discriminator="method")],
    BeforeValidator(_with_method),
]
"""Any of them; `dm` where no method is named."""
