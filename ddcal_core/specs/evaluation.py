"""What a report measures."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ddcal_core.specs.fields import Spec
from ddcal_core.specs.masks import MaskShape

Probe = Literal["rotation", "position", "brightness", "colour"]


class EvaluateSpec(Spec):
    """What the report measures on the test split."""

    n_bins: int = Field(15, ge=1, le=100, description="Number of equal-width bins of the ECE.")
    mts_ratios: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        max_length=50,
        description="Mask ratios of the MTS curve; empty for none. Default: 0, 0.1, ..., 0.9.",
    )
    mts_masks: list[MaskShape] = Field(
        [MaskShape()],
        min_length=1,
        max_length=8,
        description=(
            "Masks to compute an MTS curve for, each at every ratio. Default: single pixels."
        ),
    )

    probes: list[Probe] = Field(
        [],
        max_length=4,
        description=(
            "What beside the class to look for in the networks' features by linear probes on "
            "changed validation images, with controls: rotation, position, brightness, colour (of "
            "images in colour). Default: none."
        ),
    )

    attributions: bool = Field(
        False,
        description=(
            "Also look which pixels the networks go by: integrated gradients of 200 validation "
            "images, how few pixels hold them, and what putting in and taking out these pixels "
            "does. Networks made elsewhere have none."
        ),
    )

    @field_validator("probes")
    @classmethod
    def _each_probe_once(cls, probes: list[Probe]) -> list[Probe]:
        if len(set(probes)) < len(probes):
            raise ValueError(f"wanted each probe once, got {', '.join(probes)}")
        return probes

    @field_validator("mts_masks")
    @classmethod
    def _each_mask_once(cls, masks: list[MaskShape]) -> list[MaskShape]:
        if any(mask in masks[:k] for k, mask in enumerate(masks)):
            raise ValueError("wanted each mask once, got one of them again")
        return masks
