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
            "Side in pixels that every image is brought to: its largest centred square, resampled "
            "by Lanczos. Default: images are taken as they are, all of one size of "
            f"{MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels a side."
        ),
        examples=[32],
    ),
]
Colour = Annotated[
    Literal["grey", "rgb"] | None,
    Field(
        description=(
            "What every image is brought to; grey is luma by ITU-R BT.601. Default: as found, all "
            "grey or all in colour."
        )
    ),
]
TestFraction = Annotated[
    float | None,
    Field(
        gt=0,
        lt=1,
        description=(
            "Share of each class that becomes test images, rounded, at least one, where there are "
            f"no train and test folders. Default: {DEFAULT_TEST_FRACTION}."
        ),
    ),
]


class ImageOptions(Spec):
    """How image files become a data set; what is left out is done as it is found."""

    resize: Side = None
    colour: Colour = None
    test_fraction: TestFraction = None
    seed: Seed | None = None
