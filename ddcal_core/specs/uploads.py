"""What can be asked of an upload of image files, or of distilled sets made elsewhere."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.fields import DatasetName, Seed, Spec

DatasetContent = Literal["images", "logits"]
"""What an upload holds that has a row of its own, by whose name jobs find it."""
UploadContent = Literal[DatasetContent, "distilled_sets"]
"""What an upload holds; the check of distilled sets makes results, as other jobs do."""

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


DeclaredSpace = Literal["pixels", "standardised", "zca"]
"""What the images of a distilled set made elsewhere are."""
SetFileFormat = Literal["dc", "pair", "torch", "safetensors", "npz"]
"""What a file of distilled sets may be."""
Numbers = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=3)
]


class SetOptions(Spec):
    """What the sender of distilled sets says of them."""

    dataset: DatasetName
    space: DeclaredSpace = Field(
        description=(
            "What the images are: pixels in [0, 1] (bytes are divided by 255); `standardised`, "
            "(pixel - mean) / std by channel; or `zca`, whitened, with input_space.mean and "
            "input_space.matrix in the file."
        )
    )
    experiment: int | None = Field(
        None,
        ge=0,
        description="Which set of a file that holds several, from 0. Default: all of them.",
    )
    mean: Numbers | None = Field(
        None,
        description=(
            "Of standardised images: the mean of each channel, of pixels in [0, 1]; once for each. "
            "Default: the file's own, else the data set's."
        ),
    )
    std: Numbers | None = Field(None, description="Likewise the standard deviation.")
    learned_lr: float | None = Field(
        None,
        gt=0,
        le=10,
        description=(
            "The learning rate learned with the images, as MTT and TESLA have it: networks are "
            "trained with it unless told otherwise."
        ),
    )
