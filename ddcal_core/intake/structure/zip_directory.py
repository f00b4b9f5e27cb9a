"""A zip's directory and members, read by a reader that believes neither (standard library only).

zipfile keeps some 800 bytes for each member, reads names that are not text as another
code page, and lets two members share the same bytes. Here the directory is read as it stands on
disk, everything that a zip of plain files does not need is refused, and a member's bytes are
counted and compared with the directory as they are inflated.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.zip_names import decoded_name
from ddcal_core.specs.uploads import CodePage

MAX_ENTRIES = 250_000
MAX_RATIO = 100
STORED, DEFLATED, DEFLATED_64 = 0, 8, 9

_MAX_DIRECTORY_BYTES = 64 * 2**20
_END = struct.Struct("<4s4H2LH")
_LOCATOR_64 = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_RECORD = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT_BYTES = 65_535
# An empty page as an uncompressed image may shrink a hundredfold; so little is no bomb.
_SMALL_BYTES = 2**18
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000  # by password, strongly, with a masked directory
_SIZES_FOLLOW_FLAG = 0x8
_UTF8_FLAG = 0x800
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 1
_PLAIN_MODES = (0, stat.S_IFREG, stat.S_IFDIR)


class ZipEntry(NamedTuple):
    """One member as the directory declares it.

    Attributes:
        name: with forward slashes; a folder's ends in one.
        method: how its bytes are packed: STORED, DEFLATED or DEFLATED_64.
        crc: CRC-32 of the bytes.
        n_compressed: bytes in the zip.
        n_bytes: bytes when inflated.
        offset: where its local header starts.
        raw_name: as it stands in the zip; empty where that is the name in UTF-8.
    """

    name: str
    method: int
    crc: int
    n_compressed: int
    n_bytes: int
    offset: int
    raw_name: bytes = b""

    @property
    def stored_name(self) -> bytes:
        """The name as it stands in the zip."""
        return self.raw_name or self.name.encode()


class DirectoryPlace(NamedTuple):
    """Where a zip's directory lies.

    Attributes:
        start: offset of its first record in the file.
        n_before: bytes of something else before the zip, such as a program that unpacks it; what
            the zip says of offsets does not count them.
        n_bytes: length.
        n_entries: records it is said to have; above 65,535 only what is left modulo 65,536, unless
            the zip has the 64-bit end record.
        is_64: whether it has that.
    """

    start: int
    n_before: int
    n_bytes: int
    n_entries: int
    is_64: bool


def find_directory(path: Path) -> DirectoryPlace:
    """Find a zip's directory by the record at the file's end, reading nothing else.

    Raises:
        InvalidDataError: there is no such record, or its 64-bit form is broken.
    """
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        tail_start = max(0, n_bytes - _END.size - _MAX_COMMENT_BYTES)
        file.seek(tail_start)
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        if end < 0 or len(tail) - end < _END.size:
            raise InvalidDataError(f"wanted a zip; got {n_bytes:,} bytes that are no whole zip")
        *_, n_entries, size, start, _ = _END.unpack_from(tail, end)
        locator = end - _LOCATOR_64.size
        if locator < 0 or tail[locator : locator + 4] != b"PK\x06\x07":
            return _place(tail_start + end, start, size, n_entries, is_64=False)
        record_at = max(0, tail_start + locator - _END_64.size)
        file.seek(record_at)
        record = file.read(_END_64.size)
    if len(record) < _END_64.size or record[:4] != b"PK\x06\x06":
        raise InvalidDataError("wanted a zip; got a broken zip64 directory")
    *_, n_entries, size, start = _END_64.unpack(record)
    return _place(record_at, start, size, n_entries, is_64=True)


def _place(end: int, start: int, size: int, n_entries: int, *, is_64: bool) -> DirectoryPlace:
    """The directory ends where the record does that describes it, wherever that says it starts."""
    n_before = max(0, end - size - start)
    return DirectoryPlace(start + n_before, n_before, size, n_entries, is_64)


def first_name(path: Path) -> bytes:
    """The name of the first entry as it stands in the directory; empty where there is none.

    Raises:
        InvalidDataError: as `find_directory` does.
    """
    place = find_directory(path)
    if place.start + place.n_bytes > path.stat().st_size:
        return b""
    with path.open("rb") as file:
        file.seek(place.start)
        record = file.read(_RECORD.size)
        if len(record) < _RECORD.size or record[:4] != b"PK\x01\x02":
            return b""
        return file.read(_RECORD.unpack(record)[10])


def read_directory(path: Path, code_page: CodePage | None = None) -> list[ZipEntry]:
    """Read all entries of a zip of plain files, in the directory's order.

    Args:
        path: the zip; bytes before it are passed over.
        code_page: of names that are not said to be UTF-8.

    Raises:
        InvalidDataError: it is no whole zip, or stands behind another; an entry is encrypted, a
            link or special, compressed otherwise than by deflate, or more than 100-fold to more
            than 256 KiB, has no safe name, or shares a name or bytes with another; or there are
            more than 250,000.
    """
    place = find_directory(path)
    if place.n_bytes > _MAX_DIRECTORY_BYTES:
        raise InvalidDataError(
            f"wanted a zip of at most {MAX_ENTRIES:,} entries; its directory is "
            f"{place.n_bytes:,} bytes long"
        )
    if place.start + place.n_bytes > path.stat().st_size:
        raise InvalidDataError("wanted a whole zip; its directory is said to lie beyond its end")
    with path.open("rb") as file:
        is_behind_another = place.n_before > 0 and file.read(4) == b"PK\x03\x04"
        file.seek(place.start)
        directory = file.read(place.n_bytes)
    if is_behind_another:
        raise InvalidDataError(
            "wanted one zip; got one behind another, whose files nobody would see: make one of all "
            "files, or send the parts of a split zip joined (zip -s 0)"
        )
    entries = list(_records(directory, place.n_before, code_page))
    n_said = len(entries) if place.is_64 else len(entries) % (_FULL_16 + 1)
    if n_said != place.n_entries:
        raise InvalidDataError(
            f"wanted as many entries as the zip's end says, {place.n_entries:,}; its directory "
            f"has {len(entries):,}"
        )
    _check_distinct(entries)
    _check_apart(entries, place.start)
    return entries


def _records(directory: bytes, n_before: int, code_page: CodePage | None) -> Iterator[ZipEntry]:
    at, n_entries = 0, 0
    while at < len(directory):
        if len(directory) - at < _RECORD.size or directory[at : at + 4] != b"PK\x01\x02":
            raise InvalidDataError(f"wanted a zip directory; it is broken after {n_entries:,}")
        n_entries += 1
        if n_entries > MAX_ENTRIES:
            raise InvalidDataError(f"wanted a zip of at most {MAX_ENTRIES:,} entries; got more")
        fields = _RECORD.unpack_from(directory, at)
        n_name, n_extra, n_comment = fields[10:13]
        name_end = at + _RECORD.size + n_name
        extra_end = name_end + n_extra
        if extra_end + n_comment > len(directory):
            raise InvalidDataError(f"wanted a zip directory; it is broken after {n_entries:,}")
        raw = directory[at + _RECORD.size : name_end]
        is_utf8 = bool(fields[3] & _UTF8_FLAG)
        name = decoded_name(raw, is_utf8=is_utf8, code_page=code_page)
        entry = _checked_entry(name, fields, directory[name_end:extra_end])
        yield entry._replace(
            offset=entry.offset + n_before, raw_name=b"" if raw == name.encode() else raw
        )
        at = extra_end + n_comment


def _checked_entry(name: str, fields: tuple[int, ...], extra: bytes) -> ZipEntry:
    _, _, _, flags, method, _, _, crc, n_compressed, n_bytes, *_, attributes, offset = fields
    if flags & _ENCRYPTED_FLAGS:
        raise InvalidDataError(f"{name}: wanted it unencrypted; got an encrypted entry")
    if method not in (STORED, DEFLATED, DEFLATED_64):
        raise InvalidDataError(f"{name}: wanted it stored or deflated; got zip method {method}")
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in _PLAIN_MODES:
        got = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        raise InvalidDataError(f"{name}: wanted plain files and folders; got {got}")
    if _FULL_32 in (n_compressed, n_bytes, offset):
        n_bytes, n_compressed, offset = _zip64_sizes(name, extra, (n_bytes, n_compressed, offset))
    if name.endswith("/") and n_bytes:
        raise InvalidDataError(f"{name}: wanted a folder without bytes; got {n_bytes:,}")
    if method == STORED and n_compressed != n_bytes:
        raise InvalidDataError(
            f"{name}: wanted a stored entry of one size; got {n_compressed:,} and {n_bytes:,} bytes"
        )
    if n_bytes > max(_SMALL_BYTES, MAX_RATIO * n_compressed):
        raise InvalidDataError(
            f"{name}: wanted a compression ratio of at most {MAX_RATIO}; got {n_bytes:,} bytes "
            f"from {n_compressed:,}"
        )
    return ZipEntry(name, method, crc, n_compressed, n_bytes, offset)


def _zip64_sizes(name: str, extra: bytes, sizes: tuple[int, int, int]) -> list[int]:
    """Sizes that do not fit 32 bits, from the field that has those, in this order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind != _ZIP64_EXTRA:
            continue
        n_needed = sizes.count(_FULL_32)
        if len(field) >= 8 * n_needed:
            large = iter(struct.unpack_from(f"<{n_needed}Q", field))
            return [next(large) if size == _FULL_32 else size for size in sizes]
    raise InvalidDataError(f"{name}: wanted the sizes of a zip64 entry; they are missing")


def _check_distinct(entries: list[ZipEntry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.name.removesuffix("/")
        if name in seen:
            raise InvalidDataError(f"{name}: wanted each name once; got it twice")
        seen.add(name)


def _check_apart(entries: list[ZipEntry], directory_start: int) -> None:
    """Refuse entries that share bytes: so a small zip can inflate to any size."""
    free_from = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < free_from:
            raise InvalidDataError(f"{entry.name}: wanted bytes of its own; it overlaps another")
        n_header = _LOCAL.size + len(entry.stored_name)
        free_from = entry.offset + n_header + entry.n_compressed
    if free_from > directory_start:
        raise InvalidDataError("wanted entries before the zip's directory; one reaches into it")


def read_entry(file: BinaryIO, entry: ZipEntry) -> bytes:
    """Read one member whole, at most as many bytes as the directory declares.

    Args:
        file: the zip, open for reading.
        entry: as `read_directory` gave it.

    Raises:
        InvalidDataError: the bytes are not those that the directory declares.
    """
    seek_data(file, entry)
    data = file.read(entry.n_compressed)
    if entry.method == DEFLATED_64:
        raise InvalidDataError("wanted it stored or deflated; got Deflate64, which Windows writes")
    if entry.method == DEFLATED:
        data = _inflated(data, entry.n_bytes)
    if len(data) != entry.n_bytes:
        raise InvalidDataError(f"wanted {entry.n_bytes:,} bytes as declared; got {len(data):,}")
    if zlib.crc32(data) != entry.crc:
        raise InvalidDataError("wanted bytes of the declared checksum (CRC-32); got others")
    return data


def read_entry_start(file: BinaryIO, entry: ZipEntry, n_bytes: int) -> bytes:
    """Read the first bytes of a member, fewer where it has no more; else as `read_entry`."""
    seek_data(file, entry)
    # Deflate may make a few bytes out of more than it got: a stored block has a header.
    data = file.read(min(entry.n_compressed, 2 * n_bytes))
    if entry.method != DEFLATED:
        return data[:n_bytes]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, n_bytes)
    except zlib.error as error:
        raise InvalidDataError(f"wanted deflated bytes; got: {error}") from error


def seek_data(file: BinaryIO, entry: ZipEntry) -> None:
    """Go to the first byte of a member, whose local header has to say what the directory says.

    Raises:
        InvalidDataError: it says something else, or there is none.
    """
    file.seek(entry.offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise InvalidDataError("wanted a zip entry where the directory says; there is none")
    _, _, flags, method, _, _, crc, n_compressed, n_bytes, n_name, n_extra = _LOCAL.unpack(header)
    name = file.read(n_name)
    file.seek(n_extra, 1)
    has_sizes = not flags & _SIZES_FOLLOW_FLAG and _FULL_32 not in (n_compressed, n_bytes)
    declared = (entry.crc, entry.n_compressed, entry.n_bytes)
    if (
        name != entry.stored_name
        or method != entry.method
        or (has_sizes and (crc, n_compressed, n_bytes) != declared)
    ):
        raise InvalidDataError("wanted the zip's directory and its entry to agree; they differ")


def _inflated(data: bytes, n_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, n_bytes + 1)
    except zlib.error as error:
        raise InvalidDataError(f"wanted deflated bytes; got: {error}") from error
    if len(inflated) > n_bytes or not inflater.eof or inflater.unused_data:
        raise InvalidDataError(f"wanted {n_bytes:,} bytes as declared; got others")
    return inflated
