"""What every distillation method can be asked; its own numbers stand beside it."""

from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field

from ddcal_core.specs.fields import Spec
from ddcal_core.specs.masks import MaskSpec

T = TypeVar("T")

PRESETS_VERSION = 2
AugmentationName = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]
ALL_AUGMENTATIONS: tuple[AugmentationName, ...] = get_args(AugmentationName)


def _without_repetition(names: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"each is wanted once, got {', '.join(map(str, names))}")
    return names


Augmentation = Annotated[
    tuple[AugmentationName, ...],
    # JSON knows lists alone.
    Field(
        strict=False,
        description="Siamese augmentation (DSA): one of these is drawn for each batch, with the "
        "same numbers for real and synthetic images; none when empty.",
    ),
    AfterValidator(_without_repetition),
]


class SelectionSpec(Spec):
    """Which of the sets along the way is kept: the one that teaches best, by validation accuracy.

    At `n_evaluations` evenly spaced steps a fresh ConvNet, as wide and deep as the one distilled
    on, is trained on the set and asked about the validation images; the earlier of equal sets is
    kept. Test images have no part in it.
    """

    n_evaluations: int = Field(
        4, ge=0, le=1_000, description="0 keeps the last set, as does an empty validation split."
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Of each network, batches of 32; default: as many as show it 5,000 images, "
        "but 5 to 150.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="Stop early after so many evaluations without a better set; default: never.",
    )


class BackboneSpec(Spec):
    """What all methods share. What is not given is filled in from the preset.

    Defaults are sized for two CPU cores.
    """

    preset: Literal["smoke", "published"] = Field(
        "smoke",
        description="Whose numbers fill in what is not given here: `smoke` is sized for two CPU "
        "cores, `published` is the method's paper, for the data sets and images per class that it "
        "reports.",
    )
    preset_version: int = Field(
        PRESETS_VERSION, ge=1, le=PRESETS_VERSION, description="Of the table of presets."
    )
    images_per_class: int = Field(10, ge=1, le=1_000)
    init: Literal["real", "noise"] = Field(
        "real", description="Start from random real training images or from N(0, 1)."
    )
    mask: MaskSpec = Field(MaskSpec(), description="MDT: mask on the synthetic images.")
    iterations: int = Field(200, ge=1, le=1_000_000)
    width: int = Field(32, ge=1, le=512, description="Channels of the ConvNet distilled on.")
    depth: int = Field(3, ge=1, le=6, description="Blocks of the ConvNet; each halves the image.")
    augmentation: Augmentation = ()
    selection: SelectionSpec = SelectionSpec()
    measure_factor: bool = Field(
        True,
        description="Whether the set is to carry a factor: one more network is trained on it, and "
        "the labels of the validation images tell how its best temperature follows from the set "
        "alone. Calibrating later networks of the set by mts with ratio auto on distilled then "
        "uses that number, and no real image; see docs/mask-ratio.md.",
    )
