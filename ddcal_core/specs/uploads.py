"""What can be asked of an upload of image files."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.fields import Seed, Spec

MIN_IMAGE_SIDE = 8
MAX_IMAGE_SIDE = 64
DEFAULT_TEST_FRACTION = 0.2

Side = Annotated[
    int | None,
    Field(
        ge=MIN_IMAGE_SIDE,
        le=MAX_IMAGE_SIDE,
        description=(
            "Side in pixels to resize every image to: its largest centred square, "
            "resampled with Lanczos. Default: no resizing; then all images must have one "
            f"size, {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels a side."
        ),
        examples=[32],
    ),
]
Colour = Annotated[
    Literal["grey", "rgb"] | None,
    Field(
        description=(
            "What to convert every image to; grey is luma (ITU-R BT.601). Default: no "
            "conversion; then all images must be grey, or all in colour."
        )
    ),
]
TestFraction = Annotated[
    float | None,
    Field(
        gt=0,
        lt=1,
        description=(
            "Share of each class that becomes test images, rounded, at least one image, if "
            f"the zip has no train and test folders. Default: {DEFAULT_TEST_FRACTION}."
        ),
    ),
]


SplitSeed = Annotated[Seed | None, Field(description="Of that split. Default: 0.")]


class ImageOptions(Spec):
    """How image files become a data set; what is left out is done as it is found."""

    resize: Side = None
    colour: Colour = None
    test_fraction: TestFraction = None
    seed: SplitSeed = None
