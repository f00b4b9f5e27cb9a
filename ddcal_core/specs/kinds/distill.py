"""`distill`: real training images -> a distilled set."""

from pydantic import Field, ValidationInfo, field_validator

from ddcal_core.specs.distillation import DistillSpec
from ddcal_core.specs.fields import EXPERTS_REFERENCE
from ddcal_core.specs.kinds.data import DataParams
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.presets import resolved


class DistillationParams(DataParams):
    """What is distilled, with every number of its preset filled in."""

    distill: DistillSpec = Field(
        DmSpec(method="dm"),
        validate_default=True,
        description="How the set is distilled. Default: dm, as it is where no method is named.",
    )

    @field_validator("distill")
    @classmethod
    def _has_its_preset(cls, spec: DistillSpec, info: ValidationInfo) -> DistillSpec:
        return resolved(spec, info.data["dataset"]) if "dataset" in info.data else spec


class DistillParams(DistillationParams):
    """The params of a `distill` job."""

    experts: str | None = Field(
        None,
        pattern=EXPERTS_REFERENCE,
        validate_default=True,
        description="Experts, or the job that records them; for method mtt only.",
    )

    @field_validator("experts")
    @classmethod
    def _go_with_mtt(cls, experts: str | None, info: ValidationInfo) -> str | None:
        method = info.data["distill"].method if "distill" in info.data else None
        if method is not None and (method == "mtt") != (experts is not None):
            raise ValueError(
                "wanted with method mtt and no other (a job of kind experts makes them, a pipeline "
                f"its own), got {experts or 'none'} with {method}"
            )
        return experts
