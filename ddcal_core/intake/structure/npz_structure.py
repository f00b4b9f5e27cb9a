"""The structure of an uploaded .npz, read without decoding a single array (standard library only).

A data set is a zip of .npy files. Its arrays are named

    x_train, y_train and, if there are such parts, x_val, y_val and x_test, y_test
    train_images, train_labels, val_images, … as MedMNIST has them
    images, labels, or x, y

and optionally class_names. What it must declare is checked on the headers alone (`npz_headers`);
so is what files of logits declare (`logits_structure`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import MAX_CLASSES
from ddcal_core.intake.structure.npz_headers import (
    BOOL_DTYPE,
    FLOAT_DTYPE,
    INTEGER_DTYPE,
    TEXT_DTYPE,
    NpyHeader,
    array_names,
    read_headers,
)
from ddcal_core.intake.structure.placed_images import Part
from ddcal_core.specs.uploads import MAX_IMAGE_SIDE

CLASS_NAMES = "class_names"
MIN_SIDE = 4
MAX_SIDE = MAX_IMAGE_SIDE
MAX_NAME_ITEMSIZE = 4 * 1_024

Axes = Literal["NHW", "NHWC", "NCHW"]
"""What the axes of images are."""
LabelForm = Literal["numbers", "text", "one_hot"]
"""What labels are: integers (N,) or (N, 1), text likewise, or 0 and 1 (N, K)."""


class ArrayPair(NamedTuple):
    """The names of the arrays of one part."""

    images: str
    labels: str


def _schemes() -> Iterator[dict[Part, tuple[ArrayPair, ...]]]:
    for pattern in (("x_{}", "y_{}"), ("{}_images", "{}_labels")):
        yield {
            part: tuple(ArrayPair(*(one.format(word) for one in pattern)) for word in words)
            for part, words in _WORDS.items()
        }
    yield {"train": (ArrayPair("images", "labels"),)}
    yield {"train": (ArrayPair("x", "y"),)}


_WORDS: Mapping[Part, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}
_SCHEMES = tuple(_schemes())


@dataclass(frozen=True)
class NpzStructure:
    """What a well-formed data set file declares.

    Attributes:
        image_shape: (C, H, W), C 1 or 3, H and W 4 to 256.
        axes: of the images.
        is_float: whether they are floating point, in [0, 1], instead of bytes.
        label_form: of the labels.
        parts: the names of each part's arrays.
        n_bytes: decoded size of all members, headers included.
        headers: the header of each member, by key ("x_train").
    """

    image_shape: tuple[int, int, int]
    axes: Axes
    is_float: bool
    label_form: LabelForm
    parts: Mapping[Part, ArrayPair]
    n_bytes: int
    headers: dict[str, NpyHeader]

    def n_images(self, part: Part) -> int:
        """How many images a part has."""
        return self.headers[self.parts[part].images].shape[0]


def inspect_npz(path: Path, max_decoded_bytes: int) -> NpzStructure:
    """Check a data set file by its zip directory and .npy headers alone.

    Args:
        path: the file.
        max_decoded_bytes: largest total size after decoding.

    Returns:
        What the file declares; the data behind it is not looked at.

    Raises:
        InvalidDataError: the file is not such a data set; says what was wanted and what was got.
    """
    names = array_names(path)
    parts = _parts(names)
    required = [name for pair in parts.values() for name in pair]
    headers, n_bytes = read_headers(
        path, max_decoded_bytes, required=required, optional=(CLASS_NAMES,)
    )
    found = {part: _images(pair.images, headers[pair.images]) for part, pair in parts.items()}
    first = found["train"]
    for part, one in found.items():
        if one != first:
            raise InvalidDataError(
                f"wanted images of one shape and type in {parts['train'].images} and "
                f"{parts[part].images}; got (C, H, W) {first.shape} and {one.shape}, "
                f"{headers[parts['train'].images].dtype} and {headers[parts[part].images].dtype}"
            )
    forms = {part: _label_form(pair, headers) for part, pair in parts.items()}
    for part, form in forms.items():
        if form != forms["train"]:
            raise InvalidDataError(
                f"wanted labels of one form in all parts; got {forms['train'][0]} in "
                f"{parts['train'].labels} and {form[0]} in {parts[part].labels}"
            )
    if CLASS_NAMES in headers:
        check_class_names(headers[CLASS_NAMES])
    return NpzStructure(
        image_shape=first.shape,
        axes=first.axes,
        is_float=first.is_float,
        label_form=forms["train"][0],
        parts=parts,
        n_bytes=n_bytes,
        headers=headers,
    )


def _parts(names: set[str]) -> dict[Part, ArrayPair]:
    """The arrays of each part, by the scheme whose training images are there."""
    scheme = next(
        (one for one in _SCHEMES if any(pair.images in names for pair in one["train"])), _SCHEMES[0]
    )
    if not names & {name for pairs in scheme.values() for pair in pairs for name in pair}:
        scheme = _SCHEMES[0]
    found: dict[Part, ArrayPair] = {}
    for part, pairs in scheme.items():
        held = [pair for pair in pairs if names & set(pair)]
        if len(held) > 1:
            raise InvalidDataError(
                f"wanted one pair of {part} arrays; got {' and '.join(one.images for one in held)}"
            )
        if held or part == "train" or (part == "test" and not names & set(scheme["train"][0])):
            found[part] = (held or list(pairs))[0]
    return found


class _Images(NamedTuple):
    shape: tuple[int, int, int]
    axes: Axes
    is_float: bool


def _images(key: str, header: NpyHeader) -> _Images:
    shape = header.shape
    is_float = FLOAT_DTYPE.fullmatch(header.dtype) is not None
    if not is_float and header.dtype.lstrip("<>=|") != "u1":
        raise InvalidDataError(
            f"{key}: wanted dtype uint8, 0 to 255, or floating point in [0, 1]; got "
            f"{header.dtype!r}"
        )
    axes: Axes | None = None
    sizes: tuple[int, ...] = ()
    if len(shape) == 3:
        axes, sizes = "NHW", (1, *shape[1:])
    elif len(shape) == 4 and shape[3] in (1, 3):
        axes, sizes = "NHWC", (shape[3], *shape[1:3])
    elif len(shape) == 4 and shape[1] in (1, 3):
        axes, sizes = "NCHW", shape[1:]
    if axes is None:
        raise InvalidDataError(
            f"{key}: wanted shape (N, H, W), (N, H, W, 1), (N, H, W, 3), (N, 1, H, W) or "
            f"(N, 3, H, W); got {shape}"
        )
    n_channels, height, width = sizes
    if shape[0] < 1:
        raise InvalidDataError(f"{key}: wanted at least one image; got none")
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise InvalidDataError(
            f"{key}: wanted images of {MIN_SIDE} to {MAX_SIDE} pixels a side; "
            f"got {height} x {width}"
        )
    return _Images((n_channels, height, width), axes, is_float)


def _label_form(pair: ArrayPair, headers: Mapping[str, NpyHeader]) -> tuple[LabelForm, int]:
    """What labels are, and of one-hot ones how many classes they have."""
    key, header = pair.labels, headers[pair.labels]
    n_images = headers[pair.images].shape[0]
    shape, dtype = header.shape, header.dtype
    is_number = INTEGER_DTYPE.fullmatch(dtype) is not None
    can_be_one_hot = is_number or FLOAT_DTYPE.fullmatch(dtype) or BOOL_DTYPE.fullmatch(dtype)
    if can_be_one_hot and len(shape) == 2 and shape[0] == n_images and 2 <= shape[1] <= MAX_CLASSES:
        return "one_hot", shape[1]
    text = TEXT_DTYPE.fullmatch(dtype)
    if text is not None and int(text[1]) > MAX_NAME_ITEMSIZE // 4:
        raise InvalidDataError(
            f"{key}: wanted text of at most {MAX_NAME_ITEMSIZE // 4} characters; got {dtype!r}"
        )
    if not is_number and text is None:
        raise InvalidDataError(
            f"{key}: wanted an integer dtype, text, or one-hot rows (N, K); got {dtype!r}"
            f"{dtype_advice(header)}"
        )
    if shape not in ((n_images,), (n_images, 1)):
        raise InvalidDataError(
            f"{key}: wanted one label an image, shape ({n_images},); got {shape}"
            f"{shape_advice(header, n_images)}"
        )
    return ("numbers" if text is None else "text"), 0


def check_labels(key: str, header: NpyHeader, n_labels: int, *, of: str) -> None:
    """Refuse labels that are no integers (N,).

    Args:
        key: the array's name.
        header: of the array.
        n_labels: N.
        of: what each label belongs to ("an image").

    Raises:
        InvalidDataError: says what was wanted and what was got.
    """
    if not INTEGER_DTYPE.fullmatch(header.dtype):
        raise InvalidDataError(
            f"{key}: wanted an integer dtype; got {header.dtype!r}{dtype_advice(header)}"
        )
    if header.shape != (n_labels,):
        raise InvalidDataError(
            f"{key}: wanted one label {of}, shape ({n_labels},); got {header.shape}"
            f"{shape_advice(header, n_labels)}"
        )


def dtype_advice(header: NpyHeader) -> str:
    """What to do about labels of a type that is none of theirs; empty where nothing is known."""
    return " (send .astype(int) of whole numbers)" if "f" in header.dtype else ""


def shape_advice(header: NpyHeader, n_labels: int) -> str:
    """What to do about labels of another shape than (n_labels,); empty where nothing is known."""
    if header.shape[:1] != (n_labels,):
        return ""
    if math.prod(header.shape) == n_labels:
        return " (send .reshape(-1))"
    return " (of one-hot labels send .argmax(1))" if len(header.shape) == 2 else ""


def check_class_names(header: NpyHeader) -> None:
    """Refuse class names that are no text (K,), K from 2 to 1,000.

    Raises:
        InvalidDataError: says what was wanted and what was got.
    """
    match = TEXT_DTYPE.fullmatch(header.dtype)
    if match is None or 4 * int(match[1]) > MAX_NAME_ITEMSIZE:
        raise InvalidDataError(
            f"class_names: wanted text (dtype U, at most {MAX_NAME_ITEMSIZE // 4} characters); "
            f"got {header.dtype!r}"
        )
    if len(header.shape) != 1 or not 2 <= header.shape[0] <= MAX_CLASSES:
        raise InvalidDataError(
            f"class_names: wanted 2 to {MAX_CLASSES} names, shape (K,); got {header.shape}"
        )
