"""The structure of an uploaded data set of any layout, told apart by what the file holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from ddcal_core.intake.structure.containers import Container, container_of
from ddcal_core.intake.structure.image_zip_structure import ImageZipStructure, inspect_images
from ddcal_core.intake.structure.known_files import KnownFiles, recognise_files
from ddcal_core.intake.structure.members import Member
from ddcal_core.intake.structure.npz_structure import NpzStructure, inspect_npz
from ddcal_core.intake.structure.zip_directory import first_name, read_directory, read_entry
from ddcal_core.specs.uploads import ImageOptions

_AS_THEY_ARE = "the arrays are taken as they are"
_NO_COLUMN = "folders give the classes"


@dataclass(frozen=True)
class Unopened:
    """A file that is looked into by the intake process alone.

    Attributes:
        container: what it is.
    """

    container: Container


DatasetStructure = NpzStructure | ImageZipStructure | KnownFiles | Unopened
"""What an upload was found to be."""


def inspect_dataset(path: Path, max_decoded_bytes: int, options: ImageOptions) -> DatasetStructure:
    """Check an uploaded data set without decoding any of it.

    Args:
        path: a .npz (its first member is an array, as NumPy writes it), a zip, or something that
            is not looked into here.
        max_decoded_bytes: largest total size after decoding.
        options: asked for.

    Raises:
        InvalidDataError: the file is no such data set; says what was wanted and what was got.
    """
    container = container_of(path)
    if container != "zip":
        return Unopened(container)
    if first_name(path).endswith(b".npy"):
        return inspect_npz(path, max_decoded_bytes)
    entries = read_directory(path, options.names)
    with path.open("rb") as file:
        return inspect_members(
            entries, max_decoded_bytes, options, lambda entry: read_entry(file, entry)
        )


def inspect_members(
    entries: Sequence[Member],
    max_decoded_bytes: int,
    options: ImageOptions,
    read: Callable[..., bytes],
) -> ImageZipStructure | KnownFiles:
    """Check the files of an archive by their names; see `recognise_files`, `inspect_images`."""
    known = recognise_files(entries, max_decoded_bytes)
    return known or inspect_images(entries, max_decoded_bytes, options, read)


def not_applicable(structure: DatasetStructure, options: ImageOptions) -> dict[str, str]:
    """Why options that were given mean nothing to an upload, by their names; empty for none."""
    given = options.model_dump(exclude_none=True)
    return {name: why for name, why in _meaningless(structure).items() if name in given}


def _meaningless(structure: DatasetStructure) -> dict[str, str]:
    of_images = ("resize", "colour", "background", "grey_bits")
    has_test: dict[str, str] = dict.fromkeys(("test_fraction", "seed"), "it has a test part")
    match structure:
        case ImageZipStructure():
            no_table = {} if structure.has_table else {"label": _NO_COLUMN}
            return no_table | ({} if structure.split == "seed" else has_test)
        case NpzStructure():
            arrays = dict.fromkeys((*of_images, "names", "label"), _AS_THEY_ARE)
            return arrays | (has_test if "test" in structure.parts else {})
        case KnownFiles():
            found = has_test if "test" in structure.parts else {}
            if structure.layout not in ("parquet", "arrow"):
                found |= dict.fromkeys((*of_images, "label"), _AS_THEY_ARE)
            return found
        case Unopened():
            return {}
        case _:
            assert_never(structure)
