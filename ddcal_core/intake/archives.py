"""The files of an upload, whatever it is packed in, read in pieces of a few megabytes."""

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, assert_never

import inflate64

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.containers import Container, container_of
from ddcal_core.intake.structure.members import Member, TarEntry
from ddcal_core.intake.structure.tar_members import tar_entries
from ddcal_core.intake.structure.zip_directory import (
    DEFLATED,
    DEFLATED_64,
    ZipEntry,
    read_directory,
    seek_data,
)
from ddcal_core.specs.uploads import ImageOptions

_PIECE_BYTES = 2**20
# Deflate64 makes at most 65,538 bytes of 18 bits; its library gives all that it makes at once.
_PIECE_BYTES_64 = 2**8


@dataclass(frozen=True)
class Archive:
    """The files of an upload.

    Attributes:
        file: that they lie in.
        entries: all of them; of a zip, folders as well.
    """

    file: BinaryIO
    entries: Sequence[Member]

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Give a file's bytes in order, never more of them than it is said to have.

        Raises:
            InvalidDataError: its bytes are not those that its archive declares.
        """
        match member:
            case TarEntry():
                self.file.seek(member.offset)
                yield from _plain(self.file, member.n_bytes)
            case ZipEntry():
                yield from _checked(_zip_pieces(self.file, member), member)
            case _:
                assert_never(member)

    def read(self, member: Member) -> bytes:
        """Give a file's bytes as a whole; else as `pieces`."""
        return b"".join(self.pieces(member))

    def copy(self, member: Member, path: Path) -> None:
        """Write a file's bytes to a file of its own; else as `pieces`."""
        with path.open("wb") as copied:
            for piece in self.pieces(member):
                copied.write(piece)


@contextlib.contextmanager
def open_archive(
    path: Path, folder: Path, max_decoded_bytes: int, options: ImageOptions
) -> Iterator[Archive]:
    """Open an upload; a file that is no archive is the only one of its own.

    Args:
        path: of the upload.
        folder: existing; for a compressed tar, which is unpacked as long as the context lasts.
        max_decoded_bytes: most bytes of that.
        options: of the upload; `names`.

    Raises:
        InvalidDataError: it cannot be read.
    """
    container = container_of(path)
    if container == "gzip":
        tar = folder / "upload.tar"
        try:
            _unpack(path, tar, max_decoded_bytes)
            with tar.open("rb") as file:
                yield Archive(file, tar_entries(tar, options.names))
        finally:
            tar.unlink(missing_ok=True)
        return
    with path.open("rb") as file:
        yield Archive(file, _entries(path, container, options))


def _entries(path: Path, container: Container, options: ImageOptions) -> Sequence[Member]:
    match container:
        case "zip":
            return read_directory(path, options.names)
        case "tar" | "gzip":
            return tar_entries(path, options.names)
        case "parquet" | "arrow" | "mat":
            return [TarEntry(f"upload.{container}", path.stat().st_size, 0)]
        case _:
            assert_never(container)


def unpacked(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """Inflate a gzip, in pieces.

    Args:
        pieces: of the gzip, in order.
        max_bytes: most bytes inflated.

    Raises:
        InvalidDataError: it is no whole gzip, or more.
    """
    n_bytes, inflater = 0, zlib.decompressobj(zlib.MAX_WBITS | 16)
    for piece in pieces:
        data = piece
        while data:
            if inflater.eof:  # gzips may follow each other
                inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
            for made in _made(inflater, data, "a whole gzip"):
                n_bytes += len(made)
                if n_bytes > max_bytes:
                    raise InvalidDataError(
                        f"wanted at most {max_bytes:,} bytes after decoding; the gzip has more"
                    )
                yield made
            data = inflater.unused_data
    if not inflater.eof:
        raise InvalidDataError("wanted a whole gzip; it ends early")


def _unpack(path: Path, tar: Path, max_decoded_bytes: int) -> None:
    with path.open("rb") as packed, tar.open("wb") as file:
        for piece in unpacked(_plain(packed, path.stat().st_size), max_decoded_bytes):
            file.write(piece)
    if container_of(tar) != "tar":
        raise InvalidDataError(
            "wanted a tar in the gzip; got something else (of IDX files, .gz each, send all in one "
            "zip or tar, or as multipart/form-data)"
        )


def _plain(file: BinaryIO, n_bytes: int) -> Iterator[bytes]:
    left = n_bytes
    while left:
        piece = file.read(min(left, _PIECE_BYTES))
        if not piece:
            raise InvalidDataError(f"wanted {n_bytes:,} bytes; got {n_bytes - left:,}")
        left -= len(piece)
        yield piece


def _zip_pieces(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    seek_data(file, entry)
    packed = _plain(file, entry.n_compressed)
    if entry.method == DEFLATED:
        yield from inflated(packed, -zlib.MAX_WBITS, "deflated bytes")
    elif entry.method == DEFLATED_64:
        yield from _inflated_64(packed)
    else:
        yield from packed


def inflated(pieces: Iterator[bytes], wbits: int, wanted: str) -> Iterator[bytes]:
    """Inflate a stream that ends with its bytes, in pieces.

    Args:
        pieces: of the stream, in order.
        wbits: of its form, as zlib takes it.
        wanted: what it is, for messages.

    Raises:
        InvalidDataError: it is no such stream, ends early or has something behind it.
    """
    inflater = zlib.decompressobj(wbits)
    for piece in pieces:
        if inflater.eof:
            raise InvalidDataError(f"wanted {wanted} alone; got more behind them")
        yield from _made(inflater, piece, wanted)
    if not inflater.eof or inflater.unused_data:
        raise InvalidDataError(f"wanted {wanted} that end where they should; they do not")


def _made(inflater: "zlib._Decompress", data: bytes, wanted: str) -> Iterator[bytes]:
    """What an inflater makes of some bytes, up to the end of its stream, a piece at a time."""
    while not inflater.eof:
        try:
            made = inflater.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            raise InvalidDataError(f"wanted {wanted}; got: {error}") from error
        yield made
        data = inflater.unconsumed_tail
        if not data and len(made) < _PIECE_BYTES:
            return


def _inflated_64(packed: Iterator[bytes]) -> Iterator[bytes]:
    inflater = inflate64.Inflater()
    for piece in packed:
        for start in range(0, len(piece), _PIECE_BYTES_64):
            try:
                yield inflater.inflate(piece[start : start + _PIECE_BYTES_64])
            except ValueError as error:
                raise InvalidDataError(f"wanted Deflate64; got: {error}") from error
    if not inflater.eof:
        raise InvalidDataError("wanted Deflate64 that ends with the entry; it does not")


def _checked(pieces: Iterator[bytes], entry: ZipEntry) -> Iterator[bytes]:
    """Refuse bytes of another number or checksum than the directory declares."""
    n_bytes, crc = 0, 0
    for piece in pieces:
        n_bytes += len(piece)
        if n_bytes > entry.n_bytes:
            raise InvalidDataError(f"wanted {entry.n_bytes:,} bytes as declared; got more")
        crc = zlib.crc32(piece, crc)
        yield piece
    if n_bytes != entry.n_bytes:
        raise InvalidDataError(f"wanted {entry.n_bytes:,} bytes as declared; got {n_bytes:,}")
    if crc != entry.crc:
        raise InvalidDataError("wanted bytes of the declared checksum (CRC-32); got others")
