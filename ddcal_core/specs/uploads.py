"""What can be asked of an upload of image files, or of distilled sets made elsewhere."""

from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.fields import DatasetName, Seed, Spec

DatasetContent = Literal["images", "logits"]
"""What an upload holds that has a row of its own, by whose name jobs find it."""
UploadContent = Literal[DatasetContent, "distilled_sets", "network"]
"""What an upload holds; the check of sets and networks makes results, as other jobs do."""

SAMPLES_FILE = "samples.png"
"""The picture of a few training images of each class that the check of a data set leaves."""
MIN_IMAGE_SIDE = 8
MAX_IMAGE_SIDE = 256
DEFAULT_TEST_FRACTION = 0.2
MIN_GREY_BITS, MAX_GREY_BITS = 9, 16

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
            "Share of each class that becomes test images, rounded, at least one image, where "
            f"the upload has no test part. Default: {DEFAULT_TEST_FRACTION}."
        ),
    ),
]
SplitSeed = Annotated[Seed | None, Field(description="Of that split. Default: 0.")]
CodePage = Literal[
    "cp437", "cp850", "cp852", "cp858", "cp866", "cp874", "cp932", "cp949", "cp950", "cp1250",
    "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "gbk",
    "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "koi8_r", "mac_roman",
]  # fmt: skip
"""What names of files in zips may be written in, where they are not UTF-8."""
Names = Annotated[
    CodePage | None,
    Field(
        description=(
            "Code page of the names in a zip or tar that are not said to be UTF-8, and of its "
            "table of labels: Windows writes that of its language. Default: UTF-8."
        )
    ),
]
LabelColumn = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description=(
            "Name of the column of labels, in a table beside image files or in parquet and Arrow "
            "files. Default: the one that is recognised."
        ),
        examples=["fine_label"],
    ),
]
Background = Annotated[
    str | None,
    Field(
        pattern=r"^(white|black|#[0-9a-fA-F]{6})$",
        description=(
            "Lay transparent pixels over this colour: white, black or #rrggbb. Default: images "
            "with transparent pixels are refused."
        ),
        examples=["white"],
    ),
]
GreyBits = Annotated[
    int | None,
    Field(
        ge=MIN_GREY_BITS,
        le=MAX_GREY_BITS,
        description=(
            "Bits in use of 16-bit grey images: value v becomes round(255 v / (2^bits - 1)), and "
            "a larger v is refused. Default: 16."
        ),
        examples=[12],
    ),
]


class ImageOptions(Spec):
    """How an upload becomes a data set of images; what is left out is done as it is found."""

    resize: Side = None
    colour: Colour = None
    background: Background = None
    grey_bits: GreyBits = None
    test_fraction: TestFraction = None
    seed: SplitSeed = None
    names: Names = None
    label: LabelColumn = None


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
            "input_space.matrix in the file, or with zca_eps."
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
    zca_eps: float | None = Field(
        None,
        gt=0,
        le=100,
        description=(
            "Of whitened images without their matrix: it is fitted here, on all training images of "
            "the data set, with this added to each eigenvalue of their covariance, as MTT and "
            "TESLA do with 0.1."
        ),
    )
    learned_lr: float | None = Field(
        None,
        gt=0,
        le=10,
        description=(
            "The learning rate learned with the images, as MTT and TESLA have it: networks are "
            "trained with it unless told otherwise."
        ),
    )
