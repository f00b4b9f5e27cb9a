"""What an uploaded file is, by its first bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from ddcal_core.errors import InvalidDataError

Container = Literal["zip", "tar", "gzip", "parquet", "arrow", "mat"]
"""A file of files, or one that holds images itself."""

_TAR_MAGIC = (257, b"ustar")
_STARTS: Final[Mapping[bytes, Container]] = {
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",  # a stream of messages, as datasets saves it
    b"MATLAB 5.0 MAT-file": "mat",
}
_REFUSED: Final[Mapping[bytes, str]] = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\xfd7zXZ": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB 7.3": "a MATLAB 7.3 (HDF5) file",
    b"\x89PNG": "one PNG image",
    b"\xff\xd8\xff": "one JPEG image",
    b"\x93NUMPY": "one .npy array",
    b"\x80\x02}": "a pickle",
}


def container_of(path: Path) -> Container:
    """What a file is; a zip where it is nothing known, as one may stand behind something else.

    Raises:
        InvalidDataError: it is something known that is not taken.
    """
    with path.open("rb") as file:
        start = file.read(512)
    found = next((what for magic, what in _STARTS.items() if start.startswith(magic)), None)
    if found is not None:
        return found
    at, magic = _TAR_MAGIC
    if start[at : at + len(magic)] == magic:
        return "tar"
    refused = next((what for one, what in _REFUSED.items() if start.startswith(one)), None)
    if refused is not None:
        raise InvalidDataError(
            f"wanted a zip, tar or tar.gz of images, a .npz, or a parquet or Arrow file; got "
            f"{refused}"
        )
    return "zip"
