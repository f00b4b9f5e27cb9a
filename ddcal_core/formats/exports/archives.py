"""Zips and tars without times, owners or an order of their own: equal content, equal bytes."""

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

Members = Iterable[tuple[str, bytes]]
"""Names in the archive, with / between folders, and what is in each."""

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
_READABLE = 0o644
_UNIX = 3
# Deflated again they grow.
_PACKED = (".png", ".parquet")


def write_zip(path: Path, members: Members) -> None:
    """Write a zip, its members in the order given."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name, _FIRST_TIME)
            member.create_system, member.external_attr = _UNIX, _READABLE << 16
            is_packed = name.endswith(_PACKED)
            member.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(member, content)


def write_tar(path: Path, members: Members) -> None:
    """Write an uncompressed tar, its members in the order given."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), _READABLE
            archive.addfile(member, io.BytesIO(content))
