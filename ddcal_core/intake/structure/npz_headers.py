"""The headers of the arrays in an uploaded .npz (standard library only).

A .npz is a zip of .npy files. Only the zip's directory and the header of each member are read, so
that a file made to exhaust whoever opens it is refused before it can.
"""

import ast
import errno
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.zip_directory import find_directory

MAX_COMPRESSION_RATIO = 1_000
MAX_ARRAYS = 7
TEXT_DTYPE = re.compile(r"[<>=|]?U([0-9]{1,6})")
INTEGER_DTYPE = re.compile(r"[<>=|]?[iu]([1248])")
BOOL_DTYPE = re.compile(r"[|]?b(1)")
FLOAT_DTYPE = re.compile(r"[<>=|]?f([248])")

_MAX_HEADER_BYTES = 4_096
_SMALL_BYTES = 4 * 2**20  # sorted labels shrink a thousandfold, and so little is no bomb
_MAX_SIZE = 2**40
_MAX_DIRECTORY_BYTES = 65_536
# The first row ends near the end of the data, so that such an array is read as a whole.
_MAX_FORTRAN_BYTES = 2**30
# What zipfile raises on broken bytes, found by flipping them.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflate"}
_ENCRYPTED_FLAG = 0x1


@dataclass(frozen=True)
class NpyHeader:
    """What the header of one .npy member declares.

    Attributes:
        dtype: as written, "|u1" for bytes.
        fortran_order: whether the first axis varies fastest.
        shape: sizes of the axes, non-negative.
        offset: bytes of the member before the data.
        n_bytes: bytes of data, itemsize times the product of the shape.
    """

    dtype: str
    fortran_order: bool
    shape: tuple[int, ...]
    offset: int
    n_bytes: int


def read_headers(
    path: Path, max_decoded_bytes: int, *, required: Sequence[str], optional: Sequence[str]
) -> tuple[dict[str, NpyHeader], int]:
    """Read the header of each array in a .npz; nothing else may be in it.

    Args:
        path: the file.
        max_decoded_bytes: largest total size after decoding.
        required: names of the arrays it must hold.
        optional: names of further arrays it may hold.

    Returns:
        The headers by name, and the decoded size of all members, headers included.

    Raises:
        InvalidDataError: the file is no such .npz; says what was wanted and what was got.
    """
    _check_directory_size(path, len(required) + len(optional))
    with readable_npz(path) as archive:
        members = _check_members(archive.infolist(), required, optional)
        _check_size(members.values(), max_decoded_bytes)
        headers = {key: _read_header(archive, info) for key, info in members.items()}
    return headers, sum(info.file_size for info in members.values())


def array_names(path: Path) -> set[str]:
    """The names of a .npz's arrays, some of which may not be arrays.

    Raises:
        InvalidDataError: it is no zip, or one of far too many files.
    """
    _check_directory_size(path, MAX_ARRAYS)
    with readable_npz(path) as archive:
        return {info.filename.removesuffix(".npy") for info in archive.infolist()}


@contextmanager
def readable_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .npz, for no more than reading bytes of it: they may be damaged anywhere.

    Raises:
        InvalidDataError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*_UNREADABLE, OSError) as error:
        # A broken offset ends in an impossible seek; other OSErrors are the disk's fault.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise InvalidDataError(f"wanted a readable .npz (zip) file; got: {error}") from error


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header of a .npy stream (format versions 1.0 and 2.0), evaluating literals only.

    Args:
        stream: at the start of the .npy; left at its first byte of data.

    Raises:
        InvalidDataError: no such header, too long a one, or a dtype other than integers, bool,
            float16, float32, float64 and text.
    """
    start = stream.read(8)
    if len(start) < 8 or start[:6] != b"\x93NUMPY":
        raise InvalidDataError(f"wanted a .npy file (\\x93NUMPY...); it starts with {start[:6]!r}")
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0)):
        raise InvalidDataError(f"wanted .npy format 1.0 or 2.0; got {version[0]}.{version[1]}")
    length_format = "<H" if version == (1, 0) else "<L"
    raw_length = stream.read(struct.calcsize(length_format))
    if len(raw_length) < struct.calcsize(length_format):
        raise InvalidDataError("wanted a .npy header; the file ends before it")
    (length,) = struct.unpack(length_format, raw_length)
    if length > _MAX_HEADER_BYTES:
        raise InvalidDataError(
            f"wanted a .npy header of at most {_MAX_HEADER_BYTES:,} bytes; got {length:,}"
        )
    text = stream.read(length)
    if len(text) < length:
        raise InvalidDataError("wanted a whole .npy header; the file ends inside it")
    return _parse_header(text.decode("latin-1"), offset=8 + len(raw_length) + length)


def _parse_header(text: str, *, offset: int) -> NpyHeader:
    # Nesting can exhaust the parser's stack, which it reports in several ways.
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidDataError(
            f"wanted a .npy header that is a plain dict; got {text.strip()[:80]!r}"
        ) from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise InvalidDataError(
            f"wanted a .npy header with descr, fortran_order and shape; got {text.strip()[:80]!r}"
        )
    dtype, is_fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(dtype, str) or not isinstance(is_fortran, bool):
        raise InvalidDataError(f"wanted a plain dtype; got {str(dtype)[:80]!r}")
    if not isinstance(shape, tuple) or len(shape) > 4 or not all(map(_is_size, shape)):
        raise InvalidDataError(f"wanted a shape of at most 4 sizes; got {text.strip()[:80]!r}")
    n_bytes = _itemsize(dtype) * math.prod(shape)
    return NpyHeader(dtype, is_fortran, shape, offset, n_bytes)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_SIZE


def _number_dtype(dtype: str) -> re.Match[str] | None:
    kinds = (INTEGER_DTYPE, BOOL_DTYPE, FLOAT_DTYPE)
    return next(filter(None, (kind.fullmatch(dtype) for kind in kinds)), None)


def _itemsize(dtype: str) -> int:
    if match := _number_dtype(dtype):
        return int(match[1])
    if match := TEXT_DTYPE.fullmatch(dtype):
        return 4 * int(match[1])
    hint = " (object arrays hold pickled code and are never read)" if "O" in dtype else ""
    raise InvalidDataError(
        "wanted arrays of integers, bool, float16, float32, float64 or text (U); got dtype "
        f"{dtype[:40]!r}{hint}"
    )


def _check_directory_size(path: Path, n_arrays: int) -> None:
    """Refuse a zip whose directory is long before zipfile reads it into memory."""
    n_bytes = find_directory(path).n_bytes
    if n_bytes > _MAX_DIRECTORY_BYTES:
        raise InvalidDataError(
            f"wanted a .npz of at most {n_arrays} arrays; its directory is {n_bytes:,} bytes long"
        )


def _check_members(
    infos: list[zipfile.ZipInfo], required: Sequence[str], optional: Sequence[str]
) -> dict[str, zipfile.ZipInfo]:
    names = [info.filename for info in infos]
    allowed = [f"{key}.npy" for key in (*required, *optional)]
    missing = [f"{key}.npy" for key in required if f"{key}.npy" not in names]
    unknown = [name for name in names if name not in allowed]
    if missing or unknown or len(set(names)) != len(names):
        raise InvalidDataError(
            f"wanted the arrays {', '.join(required)} and optionally {', '.join(optional)}, each "
            f"once; got {_shown(names)}"
        )
    for info in infos:
        _check_member(info)
    return {info.filename.removesuffix(".npy"): info for info in infos}


def _check_size(infos: Iterable[zipfile.ZipInfo], max_decoded_bytes: int) -> None:
    n_bytes = sum(info.file_size for info in infos)
    if n_bytes > max_decoded_bytes:
        raise InvalidDataError(
            f"wanted at most {max_decoded_bytes:,} bytes after decoding; got {n_bytes:,}"
        )


def _shown(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "none"


def _check_member(info: zipfile.ZipInfo) -> None:
    if info.compress_type not in _METHODS:
        raise InvalidDataError(
            f"{info.filename}: wanted it stored or deflated; got zip method {info.compress_type}"
        )
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise InvalidDataError(f"{info.filename}: wanted it unencrypted; got an encrypted member")
    if info.file_size > max(_SMALL_BYTES, MAX_COMPRESSION_RATIO * info.compress_size):
        raise InvalidDataError(
            f"{info.filename}: wanted a compression ratio of at most {MAX_COMPRESSION_RATIO}; "
            f"got {info.file_size:,} bytes from {info.compress_size:,}"
        )


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpyHeader:
    try:
        with archive.open(info) as stream:
            header = read_npy_header(stream)
    except InvalidDataError as error:
        raise InvalidDataError(f"{info.filename}: {error}") from error
    declared = header.offset + header.n_bytes
    if declared != info.file_size:
        raise InvalidDataError(
            f"{info.filename}: wanted {declared:,} bytes, as dtype {header.dtype} and shape "
            f"{header.shape} make; got {info.file_size:,}"
        )
    if header.fortran_order and header.n_bytes > _MAX_FORTRAN_BYTES:
        raise InvalidDataError(
            f"{info.filename}: wanted an array of more than {_MAX_FORTRAN_BYTES:,} bytes in C "
            "order, row after row, as numpy.ascontiguousarray makes it; got Fortran order"
        )
    return header
