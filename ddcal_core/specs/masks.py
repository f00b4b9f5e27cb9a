"""The one random binary mask of MDT and MTS."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ddcal_core.specs.fields import Spec


class MaskShape(Spec):
    """What a random binary mask masks as one, and what with; the share masked is left open."""

    unit: Literal["pixel", "patch"] = Field(
        "pixel", description="What is masked as a whole: single pixels or square patches of pixels."
    )
    patch_size: int | None = Field(
        None,
        ge=1,
        le=1_024,
        description=(
            "Side of a patch in pixels, only with unit patch. Patches tile the image from "
            "its top left corner; those at the far edges are cut off."
        ),
    )
    channels: Literal["shared", "independent"] = Field(
        "shared", description="One mask for all channels of an image, or one per channel."
    )
    scope: Literal["per_sample", "shared"] = Field(
        "per_sample", description="One mask per image, or one for all images of a draw."
    )
    fill: Literal["zero", "noise"] = Field(
        "zero",
        description=(
            "What a masked pixel becomes, in network-input space: 0 (the mean colour; "
            "after ZCA, the mean image), or a draw from N(0, 1) for each channel."
        ),
    )

    @model_validator(mode="after")
    def _patch_size_fits_unit(self) -> Self:
        if (self.unit == "patch") != (self.patch_size is not None):
            raise ValueError(
                f"patch_size goes with unit patch and nothing else: wanted both or neither, got "
                f"unit {self.unit} and patch_size {self.patch_size}"
            )
        return self


class MaskSpec(MaskShape):
    """A random binary mask: each pixel, shared over channels, is masked with chance `ratio`.

    By default it is drawn for each image on its own and sets to 0 in network-input space, the
    mean colour, or of whitened images the mean image. The one definition serves MDT and MTS (ICCV
    2023, arXiv 2307.12463; the paper leaves unit, fill and redraw open, hence the options).
    """

    ratio: float = Field(0.0, ge=0, lt=1, description="Share of pixels masked, in [0, 1).")

    @classmethod
    def of(cls, shape: MaskShape, ratio: float) -> "MaskSpec":
        """Give a shape its share of pixels masked."""
        return cls(**shape.model_dump(), ratio=ratio)


class AutoMask(Spec):
    """The ratio left open; docs/mask-ratio.md says what is done instead, and how well it does."""

    # On distilled: T by the factor that the set carries, else from the set alone; on validation: by
    # real NLL.
    ratio: Literal["auto"]
