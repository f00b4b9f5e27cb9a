"""How a data set is distilled: one spec a method, told apart by `method`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from ddcal_core.specs.fields import members_of
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.dsa import DsaSpec
from ddcal_core.specs.methods.method import MethodSpec
from ddcal_core.specs.methods.mtt import MttSpec
from ddcal_core.specs.methods.rtp import RtpSpec

DEFAULT_METHOD = "dm"


def _with_method(spec: object) -> object:
    if isinstance(spec, dict) and "method" not in spec:
        return {**spec, "method": DEFAULT_METHOD}
    return spec


AnyMethodSpec = DmSpec | DcSpec | DsaSpec | MttSpec | RtpSpec
METHODS: Mapping[str, type[MethodSpec]] = members_of(AnyMethodSpec, "method")
"""The word in requests -> what the method can be asked; every table of methods follows this one."""
DistillSpec = Annotated[
    Annotated[AnyMethodSpec, Field(discriminator="method")], BeforeValidator(_with_method)
]
"""Any of them; `dm` where no method is named."""
