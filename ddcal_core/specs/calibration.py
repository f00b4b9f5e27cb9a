"""How networks are calibrated."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from ddcal_core.specs.fields import Spec
from ddcal_core.specs.masks import AutoMask, MaskSpec

FitOn = Annotated[
    Literal["validation", "distilled"],
    Field(
        description=(
            "Images the temperature is fitted on: real validation images, or the small set the "
            "network was trained on (no further real label needed)."
        )
    ),
]


class NoCalibration(Spec):
    """The network as trained: temperature 1."""

    method: Literal["none"]


class TemperatureScaling(Spec):
    """The temperature of least NLL, solved exactly (Guo et al., ICML 2017)."""

    method: Literal["ts"]
    fit_on: FitOn = "validation"


def _ratio_tag(mask: object) -> str:
    is_auto = isinstance(mask, AutoMask) or (isinstance(mask, dict) and mask.get("ratio") == "auto")
    return "ratio auto" if is_auto else "ratio given"


class MaskedTemperatureScaling(Spec):
    """The temperature of least NLL on randomly masked images (MTS, arXiv 2307.12463)."""

    method: Literal["mts"]
    fit_on: FitOn = "distilled"
    mask: Annotated[
        Annotated[MaskSpec, Tag("ratio given")] | Annotated[AutoMask, Tag("ratio auto")],
        Discriminator(_ratio_tag),
    ] = MaskSpec(ratio=0.7)
    draws_per_image: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Masks drawn for each image; default: as few as make 1,000 masked images.",
    )


CalibrationSpec = Annotated[
    NoCalibration | TemperatureScaling | MaskedTemperatureScaling, Field(discriminator="method")
]
CalibrationSpecs = Annotated[list[CalibrationSpec], Field(min_length=1, max_length=32)]
