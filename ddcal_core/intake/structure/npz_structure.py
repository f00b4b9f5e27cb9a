"""The structure of an uploaded .npz, read without decoding a single array (standard library only).

A data set is a zip of .npy files: x_train, y_train, x_test, y_test, optionally class_names. What it
must declare is checked on the headers alone (`npz_headers`); so is what files of logits declare
(`logits_structure`).
"""

import math
from dataclasses import dataclass
from pathlib import Path

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import MAX_CLASSES
from ddcal_core.intake.structure.npz_headers import (
    INTEGER_DTYPE,
    TEXT_DTYPE,
    NpyHeader,
    read_headers,
)

REQUIRED_KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL_KEYS = ("class_names",)
MIN_SIDE = 4
MAX_SIDE = 128
MAX_NAME_ITEMSIZE = 4 * 1_024


@dataclass(frozen=True)
class NpzStructure:
    """What a well-formed data set file declares.

    Attributes:
        image_shape: (C, H, W), C 1 or 3, H and W 4 to 128.
        n_train: training images, at least 1.
        n_test: test images, at least 1.
        n_bytes: decoded size of all members, headers included.
        headers: the header of each member, by key ("x_train").
    """

    image_shape: tuple[int, int, int]
    n_train: int
    n_test: int
    n_bytes: int
    headers: dict[str, NpyHeader]


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
    headers, n_bytes = read_headers(
        path, max_decoded_bytes, required=REQUIRED_KEYS, optional=OPTIONAL_KEYS
    )
    return _check_arrays(headers, n_bytes)


def _check_arrays(headers: dict[str, NpyHeader], n_bytes: int) -> NpzStructure:
    shapes = {part: _check_images(part, headers[f"x_{part}"]) for part in ("train", "test")}
    if shapes["train"] != shapes["test"]:
        raise InvalidDataError(
            "wanted images of one shape in x_train and x_test; got (C, H, W) "
            f"{shapes['train']} and {shapes['test']}"
        )
    for part in ("train", "test"):
        n_images = headers[f"x_{part}"].shape[0]
        check_labels(f"y_{part}", headers[f"y_{part}"], n_images, of="an image")
    if "class_names" in headers:
        check_class_names(headers["class_names"])
    return NpzStructure(
        image_shape=shapes["train"],
        n_train=headers["x_train"].shape[0],
        n_test=headers["x_test"].shape[0],
        n_bytes=n_bytes,
        headers=headers,
    )


def _check_images(part: str, header: NpyHeader) -> tuple[int, int, int]:
    """Give (C, H, W) of the images."""
    shape = header.shape
    if header.dtype.lstrip("<>=|") != "u1":
        raise InvalidDataError(f"x_{part}: wanted dtype uint8, 0 to 255; got {header.dtype!r}")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise InvalidDataError(
            f"x_{part}: wanted shape (N, H, W), (N, H, W, 1) or (N, H, W, 3); got {shape}"
        )
    n_images, height, width = shape[:3]
    if n_images < 1:
        raise InvalidDataError(f"x_{part}: wanted at least one image; got none")
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise InvalidDataError(
            f"x_{part}: wanted images of {MIN_SIDE} to {MAX_SIDE} pixels a side; "
            f"got {height} x {width}"
        )
    return (shape[3] if len(shape) == 4 else 1, height, width)


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
