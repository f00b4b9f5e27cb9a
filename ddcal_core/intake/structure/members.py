"""Files in archives, whatever the archive."""

from typing import NamedTuple

from ddcal_core.intake.structure.zip_directory import ZipEntry


class TarEntry(NamedTuple):
    """One file of a tar.

    Attributes:
        name: with forward slashes.
        n_bytes: of it.
        offset: of its first byte in the tar.
    """

    name: str
    n_bytes: int
    offset: int


Member = ZipEntry | TarEntry
"""A file or, of a zip, a folder, whose name then ends in a slash."""
