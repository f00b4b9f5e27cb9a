"""An uploaded data set of any layout -> checked tensors and what is known of them."""

import tempfile
from pathlib import Path
from typing import assert_never

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.archives import Archive, open_archive
from ddcal_core.intake.dataset_files import DatasetSource, TakenDataset, write_dataset
from ddcal_core.intake.image_intake import Decoding, take_in_images
from ddcal_core.intake.known_intake import cifar_source, idx_source, svhn_source
from ddcal_core.intake.npz_intake import take_in_npz
from ddcal_core.intake.structure.dataset_structure import (
    DatasetStructure,
    Unopened,
    inspect_dataset,
    inspect_members,
    not_applicable,
)
from ddcal_core.intake.structure.image_zip_structure import ImageZipStructure
from ddcal_core.intake.structure.known_files import KnownFiles
from ddcal_core.intake.structure.npz_structure import NpzStructure
from ddcal_core.progress import ProgressCallback, ignore_progress
from ddcal_core.specs.uploads import ImageOptions


def take_in(
    upload: Path,
    folder: Path,
    max_decoded_bytes: int,
    options: ImageOptions | None = None,
    report: ProgressCallback = ignore_progress,
) -> TakenDataset:
    """Check an uploaded data set, content included, and write it as tensors.

    Args:
        upload: of any layout that `inspect_dataset` knows.
        folder: an existing folder for train.safetensors and test.safetensors.
        max_decoded_bytes: largest total size after decoding.
        options: asked for.
        report: told how far the decoding of image files is.

    Returns:
        The facts and where the tensors lie.

    Raises:
        InvalidDataError: the data cannot be used; says what was wanted and what was got.
    """
    options = options or ImageOptions()
    structure = inspect_dataset(upload, max_decoded_bytes, options)
    if isinstance(structure, NpzStructure):
        return take_in_npz(upload, structure, folder, options)
    with open_archive(upload, folder, max_decoded_bytes, options) as archive:
        if isinstance(structure, Unopened):
            structure = inspect_members(archive.entries, max_decoded_bytes, options, archive.read)
            _require_applicable(structure, options)
        if isinstance(structure, ImageZipStructure):
            return take_in_images(
                archive,
                structure,
                folder,
                options=options,
                max_decoded_bytes=max_decoded_bytes,
                report=report,
            )
        if structure.layout in ("parquet", "arrow"):
            return _take_in_tables(archive, structure, folder, options, max_decoded_bytes, report)
        source = _source(archive, structure, max_decoded_bytes)
        return write_dataset(source, folder, options)


def _require_applicable(structure: DatasetStructure, options: ImageOptions) -> None:
    """Of what only this process has looked into; of all else the API has told at once."""
    for name, why in not_applicable(structure, options).items():
        raise InvalidDataError(f"{name}: wanted none, as {why}; got {getattr(options, name)}")


def _source(archive: Archive, files: KnownFiles, max_decoded_bytes: int) -> DatasetSource:
    match files.layout:
        case "cifar10" | "cifar100":
            return cifar_source(archive, files)
        case "idx":
            return idx_source(archive, files, max_decoded_bytes)
        case "svhn":
            return svhn_source(archive, files, max_decoded_bytes)
        case "parquet" | "arrow":
            raise ValueError(f"wanted files of arrays, got {files.layout}")
        case _:
            assert_never(files.layout)


def _take_in_tables(
    archive: Archive,
    files: KnownFiles,
    folder: Path,
    options: ImageOptions,
    max_decoded_bytes: int,
    report: ProgressCallback,
) -> TakenDataset:
    # pyarrow takes as long to import as all else, and few uploads need it.
    from ddcal_core.intake.arrow_tables import Tables  # noqa: PLC0415

    with tempfile.TemporaryDirectory(dir=folder) as copies:
        tables = Tables.opened(archive, files, Path(copies), max_decoded_bytes, options.label)
        decoding = Decoding(options, report, n_images=tables.n_rows)
        source = tables.source(decoding, max_decoded_bytes)
        return write_dataset(source, folder, options, decoding.conclude)
