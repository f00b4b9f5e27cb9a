"""Distilled sets made elsewhere -> checked sets in the files that all have (numpy; no torch)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.imported_sets import ImportedSet
from ddcal_core.formats.manifests import (
    DescribedSpace,
    DistillSettings,
    SetManifest,
    SetProvenance,
    Split,
)
from ddcal_core.formats.set_files import set_files, write_set_files
from ddcal_core.intake.npz_arrays import COUNTED_FROM_ONE
from ddcal_core.intake.set_space import in_space
from ddcal_core.intake.structure.set_arrays import ArrayPlace, read_legacy_torch, read_torch_zip
from ddcal_core.intake.structure.set_structure import (
    FoundSet,
    SetStructure,
    check_set,
    inspect_sets,
)
from ddcal_core.intake.structure.zip_directory import ZipEntry, read_directory, read_entry
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.uploads import SetOptions

METHOD = "imported"

_SUM_TOLERANCE = 1e-3
_UNKNOWN_IMAGES = (
    "Nobody here knows which real images it was made from: where the validation images are among "
    "them, what is fitted to or chosen by these is flattered."
)


@dataclass(frozen=True)
class TakenSet:
    """A distilled set taken in.

    Attributes:
        experiment: its place in the file, from 0.
        manifest: what is known of it.
        paths: its files.
    """

    experiment: int
    manifest: SetManifest
    paths: tuple[Path, ...]

    @property
    def key(self) -> str:
        """Unlike that of any other set of the file."""
        return f"set_{self.experiment}"

    def named(self, name: str, n_sets: int) -> str:
        """What it is called of an upload of this name; by its place where several came."""
        return name if n_sets == 1 else f"{name}-{self.experiment}"


class _Part(NamedTuple):
    """A file, and the set in it that is read."""

    images: tuple[Path, ArrayPlace]
    labels: tuple[Path, ArrayPlace]
    others: dict[str, tuple[Path, ArrayPlace]]


def take_in_sets(
    upload: Path,
    folder: Path,
    max_decoded_bytes: int,
    *,
    facts: DatasetFacts,
    options: SetOptions,
    sha256: str,
    fitted: Mapping[str, NDArray[Any]] | None = None,
) -> list[TakenSet]:
    """Check uploaded distilled sets, content included, and write each as a distilled set.

    Args:
        upload: the file (see set_structure).
        folder: an existing folder for theirs.
        max_decoded_bytes: largest total size after decoding.
        facts: of the data set that they were made from.
        options: what the sender says of them.
        sha256: of the upload.
        fitted: what the images were whitened with, where the file does not say: as
            `input_space.space_tensors` gives it.

    Raises:
        InvalidDataError: they cannot be used; says what was wanted and what was got.
    """
    structure = inspect_sets(upload, max_decoded_bytes, facts)
    parts = _parts(upload, folder, structure, facts)
    wanted = range(len(parts)) if options.experiment is None else [options.experiment]
    if wanted[-1] >= len(parts):
        raise InvalidDataError(
            f"experiment: wanted 0 to {len(parts) - 1}, as there are {len(parts)} sets; got "
            f"{wanted[-1]}"
        )
    taken = []
    for k in wanted:
        source = ImportedSet(
            file_format=structure.file_format,
            sha256=sha256,
            experiment=k,
            n_experiments=len(parts),
            declared_space=options.space,
            reported_accuracies=dict(structure.reported),
            notes=(_UNKNOWN_IMAGES,),
        )
        own = folder / f"set_{k}"
        own.mkdir()
        try:
            taken.append(_take_in(parts[k], own, facts, options, source, fitted or {}))
        except InvalidDataError as error:
            where = f"set {k}: " if len(parts) > 1 else ""
            raise InvalidDataError(f"{where}{error}") from error
    return taken


def _parts(upload: Path, folder: Path, structure: SetStructure, facts: DatasetFacts) -> list[_Part]:
    if not structure.pair:
        return [
            _Part(
                (upload, one.images),
                (upload, one.labels),
                {name: (upload, place) for name, place in one.others.items()},
            )
            for one in structure.sets
        ]
    images, labels = (_tensor_in(upload, entry, folder) for entry in structure.pair)
    check_set(FoundSet(images[1], labels[1]), facts)
    return [_Part(images, labels, {})]


def _tensor_in(upload: Path, entry: ZipEntry, folder: Path) -> tuple[Path, ArrayPlace]:
    """Take one .pt out of a zip, and find the one tensor in it."""
    path = folder / f"{entry.offset}.pt"
    with upload.open("rb") as file:
        path.write_bytes(read_entry(file, entry))
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    held = read_torch_zip(path, _entries_of(path)) if is_zip else read_legacy_torch(path)
    if not isinstance(held, ArrayPlace):
        raise InvalidDataError(f"{entry.name}: wanted one tensor in it; got something else")
    return path, held


def _entries_of(path: Path) -> list[ZipEntry]:
    entries = read_directory(path)
    if not any(entry.name.endswith("/data.pkl") for entry in entries):
        raise InvalidDataError("wanted a .pt file that torch.save has written; got another zip")
    return entries


def _read(source: tuple[Path, ArrayPlace]) -> NDArray[Any]:
    path, place = source
    with path.open("rb") as file:
        if place.entry is None:
            file.seek(place.start)
            data = file.read(place.n_bytes)
        else:
            data = read_entry(file, place.entry)[place.start : place.start + place.n_bytes]
    if len(data) < place.n_bytes:
        raise InvalidDataError(f"wanted {place.n_bytes:,} bytes of an array; got {len(data):,}")
    array = np.frombuffer(data, place.dtype)
    return array.reshape(place.shape, order="F" if place.is_fortran else "C")


def _take_in(
    part: _Part,
    folder: Path,
    facts: DatasetFacts,
    options: SetOptions,
    source: ImportedSet,
    fitted: Mapping[str, NDArray[Any]],
) -> TakenSet:
    images = _read(part.images)
    if not np.isfinite(images).all():
        raise InvalidDataError("images: wanted finite numbers; got NaN or infinities")
    labels, images_per_class, notes = _labels(_read(part.labels), facts)
    others = {name: _read(place) for name, place in part.others.items()}
    if fitted.keys() & others.keys():
        raise InvalidDataError("zca_eps: wanted none, as the file brings its own matrix; got one")
    others |= fitted
    spaced = in_space(images, others, facts, options)
    source = source.model_copy(update={"notes": (*source.notes, *spaced.notes, *notes)})
    arrays = {"images": np.ascontiguousarray(spaced.images), **labels, **spaced.arrays}
    manifest = write_set_files(
        folder,
        arrays,
        spaced.pixels,
        described=DescribedSpace.of(spaced.spec, spaced.facts),
        provenance=_provenance(options.dataset, facts, images_per_class, source),
        learned_lr=options.learned_lr,
    )
    return TakenSet(source.experiment, manifest, set_files(folder))


def _labels(
    labels: NDArray[Any], facts: DatasetFacts
) -> tuple[Mapping[str, NDArray[Any]], int, tuple[str, ...]]:
    """Labels as sets have them, images per class, and what is odd."""
    if labels.dtype.kind == "f":
        return _soft_labels(labels.astype(np.float32), facts.n_classes)
    hard = labels.reshape(-1).astype(np.int64)
    low, high = int(hard.min()), int(hard.max())
    if low < 0 or high >= facts.n_classes:
        raise InvalidDataError(
            f"labels: wanted 0 to {facts.n_classes - 1}; got {low} to {high}"
            + (COUNTED_FROM_ONE if (low, high) == (1, facts.n_classes) else "")
        )
    counts = np.bincount(hard, minlength=facts.n_classes)
    if counts.min() == 0:
        name = facts.class_names[int(counts.argmin())]
        raise InvalidDataError(f"labels: wanted images of every class; got none of {name!r}")
    notes: tuple[str, ...] = ()
    if counts.min() < counts.max():
        notes = (f"Classes have {counts.min():,} to {counts.max():,} images each.",)
    return {"labels": hard}, int(counts.min()), notes


def _soft_labels(
    rows: NDArray[np.float32], n_classes: int
) -> tuple[Mapping[str, NDArray[Any]], int, tuple[str, ...]]:
    sums = rows.sum(1, dtype=np.float64)
    if not np.isfinite(rows).all() or rows.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise InvalidDataError(
            "soft labels: wanted probabilities, none below 0 and each row adding up to 1; got "
            f"numbers from {rows.min():.3g} to {rows.max():.3g} and sums from {sums.min():.3g} to "
            f"{sums.max():.3g} (of logits, take the softmax first)"
        )
    labels = rows.argmax(1).astype(np.int64)
    return {"labels": labels, "soft_labels": rows}, max(1, len(rows) // n_classes), ()


def _provenance(
    dataset: str, facts: DatasetFacts, images_per_class: int, source: ImportedSet
) -> SetProvenance:
    return SetProvenance(
        dataset=dataset,
        split=Split(
            dataset=dataset,
            seed=0,
            n_validation=None,
            n_own_validation=facts.n_own_validation,
        ),
        n_real_images=None,
        method=METHOD,
        images_per_class=images_per_class,
        mask_ratio=0.0,
        seed=0,
        distill=DistillSettings(iterations=0, mask=MaskSpec()),
        n_steps=0,
        chosen_step=0,
        validation_accuracies=(),
        n_rollbacks=0,
        seconds=0.0,
        calibration_factor=None,
        made_with=None,
        imported=source,
    )
