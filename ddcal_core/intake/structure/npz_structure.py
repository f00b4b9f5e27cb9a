"""The structure of an uploaded .npz, read without decoding a single array (standard library only).

A data set is a zip of .npy files: x_train, y_train, x_test, y_test, optionally class_names. Only
the zip's directory and the header of each member are read, so a file made to exhaust whoever
opens it is refused before it can. What other files hold is checked by the same means
(`logits_structure`).
"""

import ast
import errno
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import MAX_CLASSES
from ddcal_core.intake.structure.zip_directory import find_directory

REQUIRED_KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL_KEYS = ("class_names",)
MIN_SIDE = 4
MAX_SIDE = 128
MAX_COMPRESSION_RATIO = 1_000
MAX_NAME_ITEMSIZE = 4 * 1_024

_MAX_HEADER_BYTES = 4_096
_MAX_SIZE = 2**40
_MAX_DIRECTORY_BYTES = 65_536
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
_NAME_DTYPE = re.compile(r"[<>=|]?U([0-9]{1,6})")
_INTEGER_DTYPE = re.compile(r"[<>=|]?[iu]([1248])")
_FLOAT_DTYPE = re.compile(r"[<>=|]?f([48])")


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


@dataclass(frozen=True)
class NpzStructure:
    """What a well-formed data set file declares.

    Attributes:
        image_shape: (C, H, W), C 1 or 3, H and W 4 to 128.
        n_train: training images, at least 1.
        n_test: test images, at least 1.
        n_bytes: decoded size of all members, headers included.
        headers: the header of each member, by key ("x_train").
    """

    image_shape: tuple[int, int, int]
    n_train: int
    n_test: int
    n_bytes: int
    headers: dict[str, NpyHeader]


def inspect_npz(path: Path, max_decoded_bytes: int) -> NpzStructure:
    """Check a data set file by its zip directory and .npy headers alone.

    Args:
        path: the file.
        max_decoded_bytes: largest total size after decoding.

    Returns:
        What the file declares; the data behind it is not looked at.

    Raises:
        InvalidDataError: the file is not such a data set; says what was wanted and what was got.
    """
    headers, n_bytes = read_headers(
        path, max_decoded_bytes, required=REQUIRED_KEYS, optional=OPTIONAL_KEYS
    )
    return _check_arrays(headers, n_bytes)


def read_headers(
    path: Path, max_decoded_bytes: int, *, required: Sequence[str], optional: Sequence[str]
) -> tuple[dict[str, NpyHeader], int]:
    """Read the header of each array in a .npz; nothing else may be in it.

    Args:
        path: the file.
        max_decoded_bytes: largest total size after decoding.
        required: names of the arrays that have to be there.
        optional: names of those that may be there too.

    Returns:
        The headers by name, and the decoded size of all members, headers included.

    Raises:
        InvalidDataError: the file is no such .npz; says what was wanted and what was got.
    """
    _check_directory_size(path, len(required) + len(optional))
    try:
        with zipfile.ZipFile(path) as archive:
            members = _check_members(archive.infolist(), required, optional)
            _check_size(members.values(), max_decoded_bytes)
            headers = {key: _read_header(archive, info) for key, info in members.items()}
    except (*_UNREADABLE, OSError) as error:
        # A broken offset ends in an impossible seek; other OSErrors are the disk's fault.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise InvalidDataError(f"wanted a readable .npz (zip) file; got: {error}") from error
    return headers, sum(info.file_size for info in members.values())


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header of a .npy stream (format versions 1.0 and 2.0), evaluating literals only.

    Args:
        stream: at the start of the .npy; left at its first byte of data.

    Raises:
        InvalidDataError: no such header, too long a one, or a dtype other than integers, float32,
            float64 and text.
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


def _itemsize(dtype: str) -> int:
    if match := _INTEGER_DTYPE.fullmatch(dtype) or _FLOAT_DTYPE.fullmatch(dtype):
        return int(match[1])
    if match := _NAME_DTYPE.fullmatch(dtype):
        return 4 * int(match[1])
    hint = " (object arrays hold pickled code and are never read)" if "O" in dtype else ""
    raise InvalidDataError(
        f"wanted arrays of integers, float32, float64 or text (U); got dtype {dtype[:40]!r}{hint}"
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
    if info.file_size > MAX_COMPRESSION_RATIO * max(info.compress_size, 1):
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
    return header


def _check_arrays(headers: dict[str, NpyHeader], n_bytes: int) -> NpzStructure:
    shapes = {part: _check_images(part, headers[f"x_{part}"]) for part in ("train", "test")}
    if shapes["train"] != shapes["test"]:
        raise InvalidDataError(
            "wanted images of one shape in x_train and x_test; got (C, H, W) "
            f"{shapes['train']} and {shapes['test']}"
        )
    for part in ("train", "test"):
        n_images = headers[f"x_{part}"].shape[0]
        check_labels(f"y_{part}", headers[f"y_{part}"], n_images, of="an image")
    if "class_names" in headers:
        check_class_names(headers["class_names"])
    return NpzStructure(
        image_shape=shapes["train"],
        n_train=headers["x_train"].shape[0],
        n_test=headers["x_test"].shape[0],
        n_bytes=n_bytes,
        headers=headers,
    )


def _check_images(part: str, header: NpyHeader) -> tuple[int, int, int]:
    """Give (C, H, W) of the images."""
    shape = header.shape
    if header.dtype.lstrip("<>=|") != "u1":
        raise InvalidDataError(f"x_{part}: wanted dtype uint8, 0 to 255; got {header.dtype!r}")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise InvalidDataError(
            f"x_{part}: wanted shape (N, H, W), (N, H, W, 1) or (N, H, W, 3); got {shape}"
        )
    n_images, height, width = shape[:3]
    if n_images < 1:
        raise InvalidDataError(f"x_{part}: wanted at least one image; got none")
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise InvalidDataError(
            f"x_{part}: wanted images of {MIN_SIDE} to {MAX_SIDE} pixels a side; "
            f"got {height} x {width}"
        )
    return (shape[3] if len(shape) == 4 else 1, height, width)


def check_labels(key: str, header: NpyHeader, n_labels: int, *, of: str) -> None:
    """Refuse labels that are no integers (N,).

    Args:
        key: the array's name.
        header: of the array.
        n_labels: N.
        of: what each label belongs to ("an image").

    Raises:
        InvalidDataError: says what was wanted and what was got.
    """
    if not _INTEGER_DTYPE.fullmatch(header.dtype):
        raise InvalidDataError(f"{key}: wanted an integer dtype; got {header.dtype!r}")
    if header.shape != (n_labels,):
        raise InvalidDataError(
            f"{key}: wanted one label {of}, shape ({n_labels},); got {header.shape}"
        )


def check_class_names(header: NpyHeader) -> None:
    """Refuse class names that are no text (K,), K from 2 to 1,000.

    Raises:
        InvalidDataError: says what was wanted and what was got.
    """
    match = _NAME_DTYPE.fullmatch(header.dtype)
    if match is None or 4 * int(match[1]) > MAX_NAME_ITEMSIZE:
        raise InvalidDataError(
            f"class_names: wanted text (dtype U, at most {MAX_NAME_ITEMSIZE // 4} characters); "
            f"got {header.dtype!r}"
        )
    if len(header.shape) != 1 or not 2 <= header.shape[0] <= MAX_CLASSES:
        raise InvalidDataError(
            f"class_names: wanted 2 to {MAX_CLASSES} names, shape (K,); got {header.shape}"
        )
