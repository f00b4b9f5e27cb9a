"""Images with their classes and parts, however an archive has said so, and their split by seed."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import MAX_CLASSES, MIN_TRAIN_IMAGES_PER_CLASS
from ddcal_core.intake.structure.members import Member
from ddcal_core.specs.uploads import DEFAULT_TEST_FRACTION, ImageOptions

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
PART_WORDS: Final[Mapping[str, Part]] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call the parts of a data set, in small letters."""


class PlacedImage(NamedTuple):
    """An image file and where it belongs.

    Attributes:
        part: None where it is for the seed to say.
        class_name: of its class.
        file_name: by which it is told from others of its class and part.
        member: its bytes.
    """

    part: Part | None
    class_name: str
    file_name: str
    member: Member


class LabelledEntry(NamedTuple):
    """An image file and the number of its class."""

    label: int
    entry: Member


def with_test_part(
    images: list[PlacedImage], options: ImageOptions
) -> tuple[list[PlacedImage], str]:
    """Split test images off by seed where there are none.

    Returns:
        All images, each with its part; and what was done, in words, empty where nothing was.
    """
    if any(image.part == "test" for image in images):
        return images, ""
    kept = [image for image in images if image.part == "validation"]
    rest = [image for image in images if image.part != "validation"]
    return kept + _split(rest, options), split_words(options)


def split_words(options: ImageOptions) -> str:
    """What a split by seed did, in words."""
    return (
        f"There was no test part: {100 * asked_fraction(options):g} % of each class became test "
        f"images, by seed {options.seed or 0} (test_fraction, seed)."
    )


def asked_fraction(options: ImageOptions) -> float:
    """The share of each class that a split by seed makes test images."""
    given = options.test_fraction
    return DEFAULT_TEST_FRACTION if given is None else given


def n_test_of(n_images: int, options: ImageOptions) -> int:
    """How many of a class's images a split by seed makes test images."""
    return max(1, math.floor(asked_fraction(options) * n_images + 0.5))


def _split(images: list[PlacedImage], options: ImageOptions) -> list[PlacedImage]:
    """Tell test images from training images by a hash of seed, class and file name.

    No generator is drawn from: an image's place depends on no other image's bytes or order, and
    the same files make the same split however they are packed.
    """
    by_class: dict[str, list[PlacedImage]] = {}
    for image in images:
        by_class.setdefault(image.class_name, []).append(image)

    def digest(image: PlacedImage) -> bytes:
        text = json.dumps([options.seed or 0, "split", image.class_name, image.file_name])
        return hashlib.sha256(text.encode()).digest()

    split = []
    for members in by_class.values():
        n_test = n_test_of(len(members), options)
        split += [
            image._replace(part="test" if place < n_test else "train")
            for place, image in enumerate(sorted(members, key=digest))
        ]
    return split


def class_names_of(images: Iterable[PlacedImage], *, where: str) -> tuple[str, ...]:
    """The names of all classes: by number where every name is one, else by code points.

    Args:
        images: all there are.
        where: classes are told, for the message ("each a folder").

    Raises:
        InvalidDataError: not 2 to 1,000.
    """
    names = {image.class_name for image in images}
    if not 2 <= len(names) <= MAX_CLASSES:
        raise InvalidDataError(
            f"wanted 2 to {MAX_CLASSES} classes, {where}; got {len(names)}: {shown(names)}"
        )
    return ordered_names(names)


def ordered_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes by number where every name is one, else by code points."""
    held = list(names)
    if all(name.isascii() and name.isdecimal() for name in held):
        return tuple(sorted(held, key=lambda name: (int(name), name)))
    return tuple(sorted(held))


def labelled(
    images: Iterable[PlacedImage], class_names: Sequence[str]
) -> dict[Part, tuple[LabelledEntry, ...]]:
    """The images of each part by class, then by file name."""
    labels = {name: label for label, name in enumerate(class_names)}
    by_part: dict[Part, list[PlacedImage]] = {part: [] for part in PARTS}
    for image in images:
        assert image.part is not None
        by_part[image.part].append(image)
    return {
        part: tuple(
            LabelledEntry(labels[image.class_name], image.member)
            for image in sorted(held, key=lambda one: (labels[one.class_name], one.file_name))
        )
        for part, held in by_part.items()
    }


def check_counts(
    counts: Mapping[Part, Sequence[int]], class_names: Sequence[str], hint: str
) -> None:
    """Refuse parts that lack images of a class: 2 for training, 1 of each other part.

    Args:
        counts: images of each class, (K,), of the parts there are.
        class_names: (K,).
        hint: for the message, in brackets with a space before it; or nothing.

    Raises:
        InvalidDataError: says of which classes there are too few.
    """
    for part, of_classes in counts.items():
        least = MIN_TRAIN_IMAGES_PER_CLASS if part == "train" else 1
        few = [name for name, n in zip(class_names, of_classes, strict=True) if n < least]
        if few:
            got = of_classes[class_names.index(few[0])]
            raise InvalidDataError(
                f"{part}: wanted at least {least} images of each class; got {got} of "
                f"{shown(few)}{hint}"
            )


def shown(names: Iterable[str]) -> str:
    """The first names of many, for messages."""
    listed = sorted(names)
    text = ", ".join(repr(name[:80]) for name in listed[:4])
    return f"{text} and {len(listed) - 4:,} more" if len(listed) > 4 else text or "none"
