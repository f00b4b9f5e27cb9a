"""What every distillation method can be asked; its own numbers stand beside it."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ddcal_core.specs.augmentations import Augmentation
from ddcal_core.specs.fields import NAME, SET_REFERENCE, ImagesPerClass, Spec, is_none
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.regularisers import Regulariser

Values = Mapping[str, Any]

PRESETS_VERSION = 2


class SelectionSpec(Spec):
    """Which of the sets along the way is kept: the one that teaches best, by validation accuracy.

    At `n_evaluations` evenly spaced steps a fresh ConvNet, as wide and deep as the one distilled
    on, is trained on the set and asked about the validation images; the earlier of equal sets is
    kept. Test images have no part in it.
    """

    n_evaluations: int = Field(
        4,
        ge=0,
        le=1_000,
        description=(
            "Number of evaluations. With 0, or without validation images, the last set is kept."
        ),
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description=(
            "Epochs of each network, in batches of 32. Default: as many as show it 5,000 "
            "images, within 5 to 150."
        ),
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="Stop after this many evaluations without a better set. Default: never.",
    )


class SetStart(Spec):
    """Start from a distilled set, to go on with it or to learn another way from there.

    It has as many images of each class as are learned. Images of another input space are taken
    over by way of their pixels.
    """

    set: str = Field(
        pattern=SET_REFERENCE,
        description=(
            "A distilled set of the same data set and classes, or the job that makes it. Made "
            "here, it has to have the same seed and n_validation: then it has seen no image that "
            "is for validation."
        ),
    )


BY_WORD, BY_SET = "start by name", "start from a set"


def _start_tag(value: object) -> str:
    return BY_SET if isinstance(value, Mapping | SetStart) else BY_WORD


Start = Annotated[
    Annotated[Literal["real", "noise"], Tag(BY_WORD)] | Annotated[SetStart, Tag(BY_SET)],
    Discriminator(_start_tag),
]


class MethodSpec(Spec):
    """What all methods share. What is not given is filled in from the preset (see `presets`).

    Defaults are sized for two CPU cores.
    """

    preset: Literal["smoke", "published"] = Field(
        "smoke",
        description=(
            "Where values that are not given here come from: `smoke` is sized for two CPU "
            "cores; `published` is the method's paper, for the data sets and images per "
            "class that it reports."
        ),
    )
    published_for: Annotated[str, Field(pattern=NAME)] | None = Field(
        None,
        exclude_if=is_none,  # as in the records from before it
        description=(
            "With preset published: the data set of the papers whose numbers are taken, where the "
            "images go by another name; they have to be of its size, channels and number of "
            "classes. Default: the data set by its own name."
        ),
        examples=["fashion_mnist"],
    )
    preset_version: int = Field(
        PRESETS_VERSION, ge=1, le=PRESETS_VERSION, description="Version of the table of presets."
    )
    images_per_class: ImagesPerClass = 10
    init: Start = Field(
        "real",
        description=(
            "Start from random real training images; from noise: N(0, 1), with rtp "
            'uniform and close to 0; or from a distilled set, as in `{"set": "set_..."}`.'
        ),
    )
    mask: MaskSpec = Field(
        MaskSpec(),
        description="MDT: the mask on the synthetic images during distillation. Default: none.",
    )
    regulariser: Regulariser | None = Field(
        None,
        description=(
            "What the synthetic images go through in the place of the mask, or after it, in each "
            "step. mixup and cutmix blend classes: where synthetic and real images are matched "
            "class by class (dm, dc, dsa) both are blended alike. Default: nothing."
        ),
    )
    iterations: int = Field(200, ge=1, le=1_000_000, description="Steps on the images.")
    width: int = Field(32, ge=1, le=512, description="Channels of the ConvNet distilled on.")
    depth: int = Field(3, ge=1, le=6, description="Blocks of the ConvNet; each halves the image.")
    augmentation: Augmentation = ()
    selection: SelectionSpec = Field(
        SelectionSpec(), description="Which of the sets along the way is kept."
    )
    measure_factor: bool = Field(
        True,
        description=(
            "Whether to measure the set's calibration factor: one more network is trained "
            "on the set, and labelled validation images tell how its best temperature "
            "follows from the set alone. Networks trained on the set later can then be "
            "calibrated by mts with ratio auto on its training set, without any real image; see "
            "docs/mask-ratio.md."
        ),
    )

    @classmethod
    @abstractmethod
    def published(cls) -> Mapping[tuple[str, int], Values]:
        """The numbers of the paper's own code, by data set and images per class it reports on."""

    @classmethod
    @abstractmethod
    def smoke(cls, dataset: str, images_per_class: int, *, version: int) -> Values:
        """Our numbers for two CPU cores, other than the fields' defaults.

        Args:
            dataset: any data set's name.
            images_per_class: any number.
            version: of the table of presets.
        """


def smoke_shape(dataset: str) -> Values:
    """How deep a network images of this data set are distilled on, where not as by default."""
    # A third block on 8 x 8 pixels normalises squares of 2 x 2: too little is left to match.
    return {"depth": 2} if dataset == "digits" else {}
