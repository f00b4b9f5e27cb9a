"""The changes of DSA: which there are, and which leave an image of a data set what it is."""

from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field

T = TypeVar("T")

AugmentationName = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]

ALL_AUGMENTATIONS: tuple[AugmentationName, ...] = get_args(AugmentationName)

MIRRORED_DIFFERS = frozenset({"digits", "mnist", "svhn"})
"""Data sets whose images mean something else when left and right change places."""


def _without_repetition(names: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"wanted each once, got {', '.join(map(str, names))}")
    return names


Augmentation = Annotated[
    tuple[AugmentationName, ...],
    # JSON knows lists alone.
    Field(
        strict=False,
        description=(
            "Siamese augmentation (DSA): one of these changes is drawn for each batch, "
            "with the same parameters for real and synthetic images; none if empty. Default: "
            "none, of dsa all."
        ),
    ),
    AfterValidator(_without_repetition),
]


def augmentations(dataset: str) -> tuple[str, ...]:
    """The changes that leave an image of a data set what it is: all, of digits not the flip."""
    return tuple(
        name for name in ALL_AUGMENTATIONS if name != "flip" or dataset not in MIRRORED_DIFFERS
    )
