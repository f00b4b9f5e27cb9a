"""A user's .npz -> checked tensors and what is known of them (numpy; no torch)."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.dataset_files import (
    TakenDataset,
    channel_statistics,
    check_leak,
    write_split,
)
from ddcal_core.intake.npz_arrays import (
    COUNTED_FROM_ONE,
    count_labels,
    open_npz,
    read_class_names,
    read_labels,
    row_chunks,
)
from ddcal_core.intake.structure.class_rules import MIN_TRAIN_IMAGES_PER_CLASS
from ddcal_core.intake.structure.npz_structure import NpzStructure
from ddcal_core.specs.facts import DatasetFacts


def take_in_npz(upload: Path, structure: NpzStructure, folder: Path) -> TakenDataset:
    """Check a data set of arrays, content included, and write it as tensors.

    Args:
        upload: the .npz.
        structure: what `inspect_npz` gave for it.
        folder: an existing folder for train.safetensors and test.safetensors.

    Raises:
        InvalidDataError: the data cannot be used; says what was wanted and what was got.
    """
    with open_npz(upload) as archive:
        return _take_in(archive, structure, folder)


def _take_in(archive: zipfile.ZipFile, structure: NpzStructure, folder: Path) -> TakenDataset:
    labels = {part: read_labels(archive, f"y_{part}") for part in ("train", "test")}
    if "class_names" in structure.headers:
        class_names = read_class_names(archive)
    else:
        class_names = tuple(str(k) for k in range(_count_classes(labels["train"])))
    counts = {
        part: count_labels(f"y_{part}", labels[part], n_classes=len(class_names))
        for part in ("train", "test")
    }
    _check_train_counts(counts["train"], class_names)
    paths = {part: folder / f"{part}.safetensors" for part in ("train", "test")}
    written = {}
    for part, path in paths.items():
        chunks = row_chunks(archive, structure.headers[f"x_{part}"], f"x_{part}")
        written[part] = write_split(path, labels[part], structure.image_shape, chunks)
    mean, std = channel_statistics(written["train"].histogram)
    n_shared, note = check_leak(written["train"], written["test"])
    facts = DatasetFacts(
        image_shape=structure.image_shape,
        class_names=class_names,
        train_class_counts=counts["train"],
        test_class_counts=counts["test"],
        mean=mean,
        std=std,
        n_test_in_train=n_shared,
        notes=tuple(
            one for one in (note, _absent_note(counts["test"], class_names)) if one is not None
        ),
    )
    return TakenDataset(facts, paths["train"], paths["test"])


def _absent_note(counts: tuple[int, ...], class_names: tuple[str, ...]) -> str | None:
    absent = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if not absent:
        return None
    more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
    return (
        f"No test image is of class {', '.join(map(repr, absent[:5]))}{more}: no number measured "
        "on the test images tells anything of it. Add some."
    )


def _count_classes(labels: NDArray[np.int64]) -> int:
    n_classes = int(labels.max()) + 1
    if n_classes < 2:
        raise InvalidDataError("y_train: wanted at least 2 classes; every label is 0")
    return n_classes


def _check_train_counts(counts: tuple[int, ...], class_names: tuple[str, ...]) -> None:
    is_from_one = counts[0] == 0 and min(counts[1:]) > 0
    for k, count in enumerate(counts):
        if count < MIN_TRAIN_IMAGES_PER_CLASS:
            hint = " (number the classes without gaps)" if count == 0 else ""
            raise InvalidDataError(
                f"y_train: wanted at least {MIN_TRAIN_IMAGES_PER_CLASS} training images of each "
                f"class; got {count} of class {k} ({class_names[k]!r})"
                + (COUNTED_FROM_ONE if is_from_one else hint)
            )
