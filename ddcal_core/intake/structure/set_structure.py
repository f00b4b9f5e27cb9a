"""The structure of an uploaded file of distilled sets, told by what it holds (standard library)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.set_arrays import (
    ArrayPlace,
    read_legacy_torch,
    read_npz,
    read_safetensors,
    read_torch_zip,
)
from ddcal_core.intake.structure.zip_directory import ZipEntry, read_directory
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.uploads import SetFileFormat

MAX_SETS = 100
MAX_IMAGES = 200_000
MATRIX, MATRIX_MEAN = "input_space.matrix", "input_space.mean"
OPTIONAL = ("soft_labels", "mean", "std", MATRIX, MATRIX_MEAN)

_MAX_ENTRIES = 1_000
_MAX_RUNS = 100_000
_MAX_NETWORKS, _MAX_NETWORK_NAME = 50, 100
_FORMATS = (
    "a .pt as DC, DSA and DM write it, a zip of MTT's images and labels .pt, a .pt, .npz or "
    "safetensors of images and labels"
)


@dataclass(frozen=True)
class FoundSet:
    """One set of a file.

    Attributes:
        images: (M, C, H, W).
        labels: integers (M,) or (M, 1), or soft ones (M, K).
        others: further arrays by their names.
    """

    images: ArrayPlace
    labels: ArrayPlace
    others: Mapping[str, ArrayPlace] = field(default_factory=dict)


@dataclass(frozen=True)
class SetStructure:
    """What a file of distilled sets declares.

    Attributes:
        file_format: which kind of file it is.
        sets: in their order; none of a pair, whose two files are looked into by the check.
        pair: the entries of a pair, images first.
        reported: what the file says networks reached, the mean by their name.
    """

    file_format: SetFileFormat
    sets: tuple[FoundSet, ...]
    pair: tuple[ZipEntry, ...] = ()
    reported: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_sets(self) -> int:
        """How many sets there are."""
        return 1 if self.pair else len(self.sets)


def inspect_sets(path: Path, max_decoded_bytes: int, facts: DatasetFacts) -> SetStructure:
    """Check a file of distilled sets without reading a number of their arrays.

    Args:
        path: the file; its name is not looked at.
        max_decoded_bytes: largest total size of the arrays.
        facts: of the data set that they were made from.

    Raises:
        InvalidDataError: it holds no such sets; says what was wanted and what was got.
    """
    structure = _structure(path)
    if structure.n_sets > MAX_SETS:
        raise InvalidDataError(f"wanted at most {MAX_SETS} sets in a file; got {structure.n_sets}")
    for k, one in enumerate(structure.sets):
        where = f"set {k}: " if structure.n_sets > 1 else ""
        check_set(one, facts, where)
    arrays = [(one.images, one.labels, *one.others.values()) for one in structure.sets]
    n_bytes = sum(place.n_bytes for places in arrays for place in places)
    n_bytes += sum(entry.n_bytes for entry in structure.pair)
    if n_bytes > max_decoded_bytes:
        raise InvalidDataError(
            f"wanted at most {max_decoded_bytes:,} bytes after decoding; got {n_bytes:,}"
        )
    return structure


def _structure(path: Path) -> SetStructure:
    with path.open("rb") as file:
        start = file.read(9)
    # First: a safetensors file starts with any eight bytes, the others have no brace there.
    if start[8:] == b"{":
        return SetStructure("safetensors", (_of_arrays(read_safetensors(path)),))
    if start[:2] == b"PK":
        return _in_zip(path)
    if start[:1] == b"\x80":
        return of_torch(read_legacy_torch(path))
    raise InvalidDataError(f"wanted {_FORMATS}; got a file that starts with {start!r}")


def _in_zip(path: Path) -> SetStructure:
    entries = [entry for entry in read_directory(path) if not entry.name.endswith("/")]
    if len(entries) > _MAX_ENTRIES:
        raise InvalidDataError(f"wanted {_FORMATS}; got a zip of {len(entries):,} entries")
    names = [entry.name for entry in entries]
    if any(name.endswith("/data.pkl") for name in names):
        return of_torch(read_torch_zip(path, entries))
    if names and all(name.endswith(".npy") for name in names):
        return SetStructure("npz", (_of_arrays(read_npz(path, entries)),))
    pair = [_only(entries, word) for word in ("images", "labels")]
    if len(entries) == 2 and None not in pair:
        return SetStructure("pair", (), pair=tuple(one for one in pair if one is not None))
    shown = ", ".join(repr(name[:40]) for name in names[:8]) or "nothing"
    raise InvalidDataError(f"wanted {_FORMATS}; got a zip of {shown}")


def _only(entries: list[ZipEntry], word: str) -> ZipEntry | None:
    """The one .pt that is called after a word."""
    named = [one for one in entries if one.name.rpartition("/")[2].startswith(word)]
    return named[0] if len(named) == 1 and named[0].name.endswith(".pt") else None


def of_torch(held: object) -> SetStructure:
    """Find the sets in what a .pt holds, its tensors placed.

    Raises:
        InvalidDataError: there are none.
    """
    if isinstance(held, dict) and "data" in held:
        return _of_dc(held)
    if isinstance(held, dict):
        arrays = {name: one for name, one in held.items() if isinstance(one, ArrayPlace)}
        return SetStructure("torch", (_of_arrays(arrays),))
    if (only := _set_of(held)) is not None:
        return SetStructure("torch", (only,))
    if isinstance(held, ArrayPlace):
        raise InvalidDataError(
            f"wanted images and labels; got one tensor of shape {held.shape}: send MTT's and "
            "TESLA's images_….pt and labels_….pt in one zip"
        )
    raise InvalidDataError(
        "wanted a .pt of {'data': [[images, labels], ...]}, of [images, labels] or of "
        "{'images': ..., 'labels': ...}; got something else"
    )


def _of_dc(held: dict[Any, Any]) -> SetStructure:
    listed = held["data"] if isinstance(held["data"], list) else []
    sets = [one for one in map(_set_of, listed[: MAX_SETS + 1]) if one is not None]
    if not sets or len(sets) < min(len(listed), MAX_SETS + 1):
        raise InvalidDataError(
            "data: wanted a list of [images, labels], one an experiment, each a tensor"
        )
    said = held.get("accs_all_exps", {})
    reported = {
        str(name)[:_MAX_NETWORK_NAME]: math.fsum(values) / len(values)
        for name, values in list(said.items() if isinstance(said, dict) else ())[:_MAX_NETWORKS]
        if isinstance(values, list) and 0 < len(values) <= _MAX_RUNS and all(map(_is_share, values))
    }
    return SetStructure("dc", tuple(sets), reported=reported)


def _set_of(value: object) -> FoundSet | None:
    """The set that a pair of tensors is."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    images, labels = value
    if not isinstance(images, ArrayPlace) or not isinstance(labels, ArrayPlace):
        return None
    return FoundSet(images, labels)


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


def _of_arrays(arrays: Mapping[Any, ArrayPlace]) -> FoundSet:
    known = ("images", "labels", *OPTIONAL)
    unknown = [name for name in arrays if name not in known]
    if "images" not in arrays or not {"labels", "soft_labels"} & set(arrays) or unknown:
        shown = ", ".join(repr(str(name)[:40]) for name in list(arrays)[:8]) or "none"
        raise InvalidDataError(
            f"wanted the arrays images and labels, and at most {', '.join(OPTIONAL)} besides; got "
            f"{shown}"
        )
    others = {name: one for name, one in arrays.items() if name in OPTIONAL[1:]}
    labels = arrays.get("soft_labels") or arrays["labels"]
    return FoundSet(arrays["images"], labels, others)


def check_set(found: FoundSet, facts: DatasetFacts, where: str = "") -> None:
    """Compare a set's arrays with the data set that it is said to be made from.

    Raises:
        InvalidDataError: they do not fit it.
    """
    n_images, *image_shape = found.images.shape or (0,)
    if tuple(image_shape) != facts.image_shape or not 1 <= n_images <= MAX_IMAGES:
        raise InvalidDataError(
            f"{where}images: wanted 1 to {MAX_IMAGES:,} of the data set's shape, "
            f"(M, {', '.join(map(str, facts.image_shape))}); got {found.images.shape}"
        )
    if found.images.dtype[1] != "f" and found.images.dtype[1:] != "u1":
        raise InvalidDataError(
            f"{where}images: wanted floating point numbers, or bytes; got {found.images.dtype}"
        )
    labels, is_soft = found.labels, found.labels.dtype[1] == "f"
    if is_soft and labels.shape != (n_images, facts.n_classes):
        raise InvalidDataError(
            f"{where}soft labels: wanted a probability of each of the {facts.n_classes} classes, "
            f"shape ({n_images}, {facts.n_classes}); got {labels.shape} of {labels.dtype} (labels "
            "that are class numbers have to be integers)"
        )
    if not is_soft and labels.shape not in ((n_images,), (n_images, 1)):
        raise InvalidDataError(
            f"{where}labels: wanted one an image, shape ({n_images},); got {labels.shape}"
        )
