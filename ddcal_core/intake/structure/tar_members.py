"""The files of an uploaded tar, by a reader that takes plain files and folders alone.

tarfile follows the headers; it is kept from reading a header of more than 1 MiB, from keeping what
it has read, and from unpacking anything.
"""

import tarfile
from pathlib import Path
from typing import IO, BinaryIO, cast

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.members import TarEntry
from ddcal_core.intake.structure.zip_directory import MAX_ENTRIES
from ddcal_core.intake.structure.zip_names import MAX_NAME_BYTES, require_safe
from ddcal_core.specs.uploads import CodePage

_MAX_HEADER_BYTES = 2**20
_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class _Headers:
    """A file that gives out no more than a header at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise InvalidDataError(
                f"wanted a tar with headers of at most {_MAX_HEADER_BYTES:,} bytes; got {size:,}"
            )
        return self._file.read(size)


def tar_entries(path: Path, code_page: CodePage | None = None) -> list[TarEntry]:
    """Find the plain files of an uncompressed tar, in its order.

    Args:
        path: of it.
        code_page: of names; None: UTF-8.

    Raises:
        InvalidDataError: it is no whole tar; a member is a link or special, has no safe name, or a
            name of another; or there are more than 250,000.
    """
    n_bytes = path.stat().st_size
    entries: dict[str, TarEntry] = {}
    n_members = 0
    try:
        with (
            path.open("rb") as file,
            tarfile.open(
                fileobj=cast("IO[bytes]", _Headers(file)),
                mode="r:",
                encoding=code_page or "utf-8",
                errors="strict",
            ) as archive,
        ):
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                n_members += 1
                if n_members > MAX_ENTRIES:
                    raise InvalidDataError(
                        f"wanted a tar of at most {MAX_ENTRIES:,} members; got more"
                    )
                entry = _checked(member, n_bytes)
                if entry is None:
                    continue
                if entry.name in entries:
                    raise InvalidDataError(f"{entry.name}: wanted each name once; got it twice")
                entries[entry.name] = entry
            _require_end(file, archive.offset)
    except UnicodeDecodeError as error:
        raise InvalidDataError(
            f"wanted names in {code_page or 'UTF-8'}; got {error.object[:80]!r} (names= names "
            "their code page)"
        ) from None
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        raise InvalidDataError(f"wanted a whole tar; got: {error}") from error
    return list(entries.values())


def _checked(member: tarfile.TarInfo, n_bytes: int) -> TarEntry | None:
    """A plain file of a tar; None for a folder."""
    name = member.name.removeprefix("./")
    if member.isdir() and name in ("", "."):
        return None
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise InvalidDataError(f"wanted names of 1 to {MAX_NAME_BYTES} bytes; got {name[:40]!r}…")
    require_safe(name)
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        got = _KINDS.get(member.type, "a sparse file" if member.issparse() else "a special file")
        raise InvalidDataError(f"{name}: wanted plain files and folders; got {got}")
    if member.size < 0 or member.offset_data + member.size > n_bytes:
        raise InvalidDataError(
            f"{name}: wanted a whole tar; its {member.size:,} bytes reach beyond the end"
        )
    return TarEntry(name, member.size, member.offset_data)


def _require_end(file: BinaryIO, at: int) -> None:
    """Refuse a tar with anything but its end mark, blocks of zeros, where its reader has stopped.

    tarfile takes a damaged header for the end, and whatever follows an end mark for nothing: all
    files behind it would be left out unseen.

    Args:
        file: the tar.
        at: where it has stopped.
    """
    file.seek(at)
    n_zeros = 0
    while piece := file.read(_MAX_HEADER_BYTES):
        if any(piece):
            what = (
                "more behind its end mark (several tars in one file? Make one of all files)"
                if n_zeros >= tarfile.BLOCKSIZE or not any(piece[: tarfile.BLOCKSIZE])
                else f"a damaged header at byte {at:,}"
            )
            raise InvalidDataError(f"wanted a whole tar; it has {what}")
        n_zeros += len(piece)
    if n_zeros < tarfile.BLOCKSIZE:
        raise InvalidDataError("wanted a whole tar; it ends without its end mark")
