"""A user's .npz -> checked tensors and what is known of them (numpy; no torch)."""

import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.dataset_files import (
    DatasetSource,
    PartSource,
    TakenDataset,
    write_dataset,
)
from ddcal_core.intake.npz_arrays import (
    count_labels,
    open_npz,
    read_class_names,
    read_labels,
    read_text_labels,
    row_chunks,
)
from ddcal_core.intake.structure.npz_structure import CLASS_NAMES, NpzStructure
from ddcal_core.intake.structure.placed_images import Part, ordered_names
from ddcal_core.specs.uploads import ImageOptions


class Labelling(NamedTuple):
    """Labels of all parts, as numbers from 0, and the classes they stand for.

    Attributes:
        labels: int64 (N,) of each part.
        class_names: (K,).
        told: what was recognised, a sentence each.
    """

    labels: Mapping[Part, NDArray[np.int64]]
    class_names: tuple[str, ...]
    told: tuple[str, ...] = ()


def take_in_npz(
    upload: Path, structure: NpzStructure, folder: Path, options: ImageOptions
) -> TakenDataset:
    """Check a data set of arrays, content included, and write it as tensors.

    Args:
        upload: the .npz.
        structure: what `inspect_npz` gave for it.
        folder: an existing folder for train.safetensors and test.safetensors.
        options: `test_fraction` and `seed`, where there is no test part.

    Raises:
        InvalidDataError: the data cannot be used; says what was wanted and what was got.
    """
    with open_npz(upload) as archive:
        labelling = _labelling(archive, structure)
        parts = {
            part: PartSource(labels, partial(_pixels, archive, structure, part))
            for part, labels in labelling.labels.items()
        }
        source = DatasetSource(
            image_shape=structure.image_shape,
            class_names=labelling.class_names,
            parts=parts,
            recognised=(_layout_words(structure), *labelling.told),
            hint=" (number the classes without gaps)"
            if structure.label_form == "numbers" and CLASS_NAMES not in structure.headers
            else "",
        )
        return write_dataset(source, folder, options)


def _layout_words(structure: NpzStructure) -> str:
    pairs = " and ".join(pair.images for pair in structure.parts.values())
    values = "floating point in [0, 1], rounded to 255ths" if structure.is_float else "bytes"
    return f"Images in {pairs}, axes {structure.axes}, {values}."


def _pixels(
    archive: zipfile.ZipFile, structure: NpzStructure, part: Part
) -> Iterator[NDArray[np.uint8]]:
    """A part's images, (n, H, W, C) or (n, H, W)."""
    key = structure.parts[part].images
    for chunk in row_chunks(archive, structure.headers[key], key):
        images = chunk.transpose(0, 2, 3, 1) if structure.axes == "NCHW" else chunk
        yield _as_bytes(key, images) if structure.is_float else images


def _as_bytes(key: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(images.min()), float(images.max())  # NaN where one is NaN
    if not (low >= 0 and high <= 1):
        hint = " (send .astype(np.uint8) of whole numbers to 255)" if 1 < high <= 255 else ""
        raise InvalidDataError(
            f"{key}: wanted floating point in [0, 1]; got {low:g} to {high:g}{hint}"
        )
    return np.rint(images.astype(np.float64) * 255).astype(np.uint8)


def _labelling(archive: zipfile.ZipFile, structure: NpzStructure) -> Labelling:
    names = read_class_names(archive) if CLASS_NAMES in structure.headers else None
    keys = {part: pair.labels for part, pair in structure.parts.items()}
    match structure.label_form:
        case "numbers":
            numbers = {part: read_labels(archive, key) for part, key in keys.items()}
            labelling = numbered(numbers, names)
        case "text":
            labelling = named(
                {part: read_text_labels(archive, key) for part, key in keys.items()}, names
            )
        case "one_hot":
            rows = {part: _one_hot(archive, structure, key) for part, key in keys.items()}
            n_classes = structure.headers[keys["train"]].shape[1]
            told = f"Labels are one-hot, of {n_classes} classes."
            labelling = Labelling(rows, names or _numbers(n_classes), (told,))
        case _:
            assert_never(structure.label_form)
    for part, labels in labelling.labels.items():
        count_labels(keys[part], labels, n_classes=len(labelling.class_names))
    return labelling


def _numbers(n_classes: int) -> tuple[str, ...]:
    return tuple(map(str, range(n_classes)))


def numbered(labels: Mapping[Part, NDArray[np.int64]], names: tuple[str, ...] | None) -> Labelling:
    """Take numbers for labels, from 0 or, where no label is 0, from 1.

    Args:
        labels: int64 (N,) of each part.
        names: of the classes, where they are known; else their numbers become their names.

    Raises:
        InvalidDataError: there is one class alone.
    """
    lowest = min(int(one.min()) for one in labels.values())
    highest = max(int(one.max()) for one in labels.values())
    n_trained = int(labels["train"].max())
    is_from_one = lowest == 1 and (highest == len(names) if names else highest == n_trained)
    if is_from_one:
        shifted = {part: one - 1 for part, one in labels.items()}
        told = f"Labels are counted from 1, to {highest}."
        return Labelling(shifted, names or _numbers(highest + 1)[1:], (told,))
    if names is None and n_trained == 0:
        raise InvalidDataError("labels: wanted at least 2 classes; every label is 0")
    return Labelling(labels, names or _numbers(n_trained + 1))


def named(labels: Mapping[Part, NDArray[np.str_]], names: tuple[str, ...] | None) -> Labelling:
    """Take text for labels: the name of a class."""
    found = ordered_names(names or {str(one) for one in np.unique(labels["train"])})
    names = names or found
    if len(names) < 2:
        raise InvalidDataError(f"labels: wanted at least 2 classes; every label is {names[0]!r}")
    place = {name: k for k, name in enumerate(names)}
    numbers: dict[Part, NDArray[np.int64]] = {}
    for part, texts in labels.items():
        held, where = np.unique(texts, return_inverse=True)
        unknown = [str(one) for one in held if str(one) not in place]
        if unknown:
            raise InvalidDataError(
                f"{part} labels: wanted the names of classes; got {unknown[0]!r}, which is none"
            )
        numbers[part] = np.array([place[str(one)] for one in held], np.int64)[where.reshape(-1)]
    return Labelling(numbers, names, (f"Labels are text: {len(names)} names.",))


def _one_hot(archive: zipfile.ZipFile, structure: NpzStructure, key: str) -> NDArray[np.int64]:
    """The place of the 1 in each row."""
    found = []
    for rows in row_chunks(archive, structure.headers[key], key):
        if not (((rows == 0) | (rows == 1)).all() and (rows.sum(1, dtype=np.int64) == 1).all()):
            raise InvalidDataError(
                f"{key}: wanted one-hot rows, each with a single 1 and else 0; got others (images "
                "of several classes at once cannot be used, nor soft labels)"
            )
        found.append(rows.argmax(1).astype(np.int64))
    return np.concatenate(found)
