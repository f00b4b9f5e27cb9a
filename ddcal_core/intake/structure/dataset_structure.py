"""The structure of an uploaded data set of either form, told apart by what the zip holds."""

from pathlib import Path

from ddcal_core.intake.structure.image_zip_structure import ImageZipStructure, inspect_image_zip
from ddcal_core.intake.structure.npz_structure import NpzStructure, inspect_npz
from ddcal_core.intake.structure.zip_directory import first_name
from ddcal_core.specs.uploads import ImageOptions


def inspect_dataset(
    path: Path, max_decoded_bytes: int, options: ImageOptions
) -> NpzStructure | ImageZipStructure:
    """Check an uploaded data set without decoding any of it.

    Args:
        path: a .npz (its first member is an array, as NumPy writes it) or a zip of image files.
        max_decoded_bytes: largest total size after decoding.
        options: of a zip of image files; a .npz has none.

    Raises:
        InvalidDataError: the file is no such data set; says what was wanted and what was got.
    """
    if first_name(path).endswith(b".npy"):
        return inspect_npz(path, max_decoded_bytes)
    return inspect_image_zip(path, max_decoded_bytes, options)
