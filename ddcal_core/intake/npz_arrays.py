"""Arrays of an uploaded .npz, read a few megabytes at a time, and the layout they are kept in.

Only for files whose structure has been checked (`npz_structure`); the content is still anybody's.
"""

import json
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import MAX_CLASSES, clean_class_name
from ddcal_core.intake.structure.npz_headers import NpyHeader, read_npy_header

COUNTED_FROM_ONE = " (they look counted from 1: subtract 1 from every label)"
OUT_OF_RANGE = " (leave out what is to be ignored, and number the classes without gaps)"

_CHUNK_BYTES = 4 * 2**20


@contextmanager
def open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .npz whose arrays are to be read.

    Raises:
        InvalidDataError: bytes do not decode, or their checksum is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InvalidDataError(f"wanted data that decode whole; got: {error}") from error


def read_labels(
    archive: zipfile.ZipFile, key: str, *, n_classes: int = MAX_CLASSES
) -> NDArray[np.int64]:
    """Read labels (N,) or (N, 1), each 0 to n_classes - 1.

    Raises:
        InvalidDataError: a label out of that range.
    """
    labels = _read_whole(archive, key).reshape(-1)
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest < 0 or largest >= n_classes:
        raise InvalidDataError(
            f"{key}: wanted labels 0 to {n_classes - 1}; got {smallest} to {largest}"
            + (COUNTED_FROM_ONE if (smallest, largest) == (1, n_classes) else OUT_OF_RANGE)
        )
    return labels.astype(np.int64)


def count_labels(key: str, labels: NDArray[np.int64], *, n_classes: int) -> tuple[int, ...]:
    """Count the labels (N,) of each class.

    Raises:
        InvalidDataError: a label beyond the classes.
    """
    largest = int(labels.max())
    if largest >= n_classes:
        raise InvalidDataError(
            f"{key}: wanted labels 0 to {n_classes - 1}, as there are {n_classes} classes; "
            f"got {int(labels.min())} to {largest}"
            + (COUNTED_FROM_ONE if (int(labels.min()), largest) == (1, n_classes) else OUT_OF_RANGE)
        )
    return tuple(int(count) for count in np.bincount(labels, minlength=n_classes))


def read_class_names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Read class_names: distinct, in NFC, without control characters, 1 to 64 characters each.

    Raises:
        InvalidDataError: names that are not so.
    """
    header, data = _read_data(archive, "class_names")
    byte_order = ">" if header.dtype.startswith(">") else "<"
    # Numbers first: a text array may hold code points that no character has.
    n_characters = header.n_bytes // 4 // header.shape[0]
    names = []
    for k in range(header.shape[0]):
        points = struct.unpack_from(f"{byte_order}{n_characters}L", data, 4 * n_characters * k)
        names.append(_clean_class_name(points, f"class_names[{k}]"))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidDataError(f"class_names: wanted distinct names; got {twice!r} twice")
    return tuple(names)


def read_text_labels(archive: zipfile.ZipFile, key: str) -> NDArray[np.str_]:
    """Read labels that are text, (N,) or (N, 1), as `read_class_names` reads names.

    Raises:
        InvalidDataError: more than 1,000 different ones, or one that cannot be a class's name.
    """
    header, data = _read_data(archive, key)
    n_rows = header.shape[0]
    byte_order = ">" if header.dtype.startswith(">") else "<"
    # Numbers first: a text array may hold code points that no character has.
    points = np.frombuffer(data, f"{byte_order}u4").reshape(n_rows, -1)
    if points.shape[1] == 0:
        raise InvalidDataError(f"{key}: wanted names of classes; got empty text")
    held, place = np.unique(points, axis=0, return_inverse=True)
    if len(held) > MAX_CLASSES:
        raise InvalidDataError(
            f"{key}: wanted at most {MAX_CLASSES:,} classes; got {len(held):,} different labels"
        )
    names = [_clean_class_name(tuple(map(int, row)), f"{key}: {k}") for k, row in enumerate(held)]
    return np.array(names)[place.reshape(-1)]


def row_chunks(archive: zipfile.ZipFile, header: NpyHeader, key: str) -> Iterator[NDArray[Any]]:
    """Give an array's rows in order, (n, ...) of its own dtype, a few megabytes at a time.

    Raises:
        InvalidDataError: the data are shorter or longer than the header says.
    """
    n_row_bytes = header.n_bytes // header.shape[0]
    n_chunk = max(1, _CHUNK_BYTES // n_row_bytes)
    if header.fortran_order:
        # The first row ends near the end of the data: there is no reading it in pieces.
        rows = _read_whole(archive, key)
        for start in range(0, len(rows), n_chunk):
            yield rows[start : start + n_chunk]
        return
    n_rows, *row_shape = header.shape
    with archive.open(f"{key}.npy") as stream:
        read_npy_header(stream)
        for start in range(0, n_rows, n_chunk):
            n = min(n_chunk, n_rows - start)
            data = _read_exactly(stream, n * n_row_bytes, key)
            yield np.frombuffer(data, header.dtype).reshape(n, *row_shape)
        _check_end(stream, key)


def safetensors_header(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """Write the start of a safetensors file whose tensors follow in this order.

    Args:
        tensors: by name, the dtype as safetensors writes it ("U8", "I64", "F32", "F64") and the
            shape. Those of wider numbers have to come first: they need alignment.
    """
    entries, offset = {}, 0
    for name, (dtype, shape) in tensors.items():
        end = offset + int(dtype[1:]) // 8 * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header


def _read_data(archive: zipfile.ZipFile, key: str) -> tuple[NpyHeader, bytes]:
    with archive.open(f"{key}.npy") as stream:
        header = read_npy_header(stream)
        data = _read_exactly(stream, header.n_bytes, key)
        _check_end(stream, key)
    return header, data


def _read_whole(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    header, data = _read_data(archive, key)
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return np.frombuffer(data, dtype=header.dtype).reshape(header.shape, order=order)


def _read_exactly(stream: IO[bytes], n_bytes: int, key: str) -> bytes:
    data = stream.read(n_bytes)
    if len(data) < n_bytes:
        raise InvalidDataError(f"{key}: wanted {n_bytes:,} bytes of data; got {len(data):,}")
    return data


def _check_end(stream: IO[bytes], key: str) -> None:
    # Reading to the end is also what makes zipfile compare the checksum.
    if stream.read(1):
        raise InvalidDataError(f"{key}: wanted no bytes after the array; got some")


def _clean_class_name(points: tuple[int, ...], where: str) -> str:
    if any(point > sys.maxunicode or 0xD800 <= point <= 0xDFFF for point in points):
        raise InvalidDataError(f"{where}: wanted text; got a number that is no character")
    return clean_class_name("".join(map(chr, points)).rstrip("\0"), where=where)
