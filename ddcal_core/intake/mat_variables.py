"""Numeric arrays of a MATLAB 5 file, read in pieces; nothing else of it is looked at (numpy).

scipy would read each as a whole, and as many bytes as a file says.

Source: MAT-File Format, MathWorks, "Level 5 MAT-File Format".
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.archives import inflated
from ddcal_core.intake.byte_streams import ByteStream

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_MAX_NAME_BYTES, _MAX_AXES = 63, 8
_MAX_VARIABLES = 100
_NUMERIC_CLASSES: Final = range(6, 16)  # double to uint64; before them cells, structs, text
_DTYPES: Final = {
    1: "|i1", 2: "|u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8",
    13: "<u8",
}  # fmt: skip


class MatVariable(NamedTuple):
    """A numeric array.

    Attributes:
        name: of it.
        shape: sizes of its axes, of which the first varies fastest.
        dtype: of its numbers as they stand in the file, as numpy writes it.
        data: its numbers; to be read before the next variable is asked for.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: ByteStream

    @property
    def n_bytes(self) -> int:
        """Of its numbers."""
        return int(self.dtype[2:]) * math.prod(self.shape)


def mat_variables(pieces: Iterator[bytes]) -> Iterator[MatVariable]:
    """The numeric arrays of a MATLAB 5 file in its order; others are passed over.

    Args:
        pieces: the file, in order.

    Raises:
        InvalidDataError: it is no such file, or its sizes do not agree.
    """
    file = ByteStream(pieces)
    header = file.read(_HEADER_BYTES)
    if not header.startswith(b"MATLAB 5.0") or header[126:128] != b"IM":
        raise InvalidDataError("wanted a MATLAB 5 file (-v7 or earlier), little-endian")
    for _ in range(_MAX_VARIABLES):
        start = b"".join(file.up_to(8))
        if not start:
            return
        if len(start) < 8:
            raise InvalidDataError("wanted a whole MATLAB file; it ends early")
        kind, n_bytes = struct.unpack("<2L", start)
        element = _whole(file, n_bytes)
        if kind == _COMPRESSED:
            inside = ByteStream(inflated(element, zlib.MAX_WBITS, "compressed variables"))
            kind, n_inside = struct.unpack("<2L", inside.read(8))
        else:
            inside, n_inside = ByteStream(element), n_bytes
        if kind != _MATRIX:
            raise InvalidDataError(f"wanted variables in the MATLAB file; got an element {kind}")
        variable = _variable(inside, n_inside)
        if variable is not None:
            yield variable
        for _rest in element:
            pass
    raise InvalidDataError(f"wanted a MATLAB file of at most {_MAX_VARIABLES} variables; got more")


def _whole(file: ByteStream, n_bytes: int) -> Iterator[bytes]:
    left = n_bytes
    for piece in file.up_to(n_bytes):
        left -= len(piece)
        yield piece
    if left:
        raise InvalidDataError("wanted a whole MATLAB file; it ends early")


def _variable(matrix: ByteStream, n_bytes: int) -> MatVariable | None:
    """A variable up to its numbers; None where it has none, or complex ones."""
    flags = _small(matrix, 6, 8)
    shape_bytes = _small(matrix, 5, 4 * _MAX_AXES)
    name = _small(matrix, 1, _MAX_NAME_BYTES).decode("latin1")
    is_complex = bool(flags[1] & 0x08)
    if flags[0] not in _NUMERIC_CLASSES or is_complex:
        return None
    shape = struct.unpack(f"<{len(shape_bytes) // 4}l", shape_bytes)
    if min(shape, default=0) < 1:
        return None
    kind, n_data = struct.unpack("<2L", matrix.read(8))
    if kind >> 16:  # four bytes or less stand in the tag itself
        small = struct.pack("<L", n_data)[: kind >> 16]
        kind, n_data, data = kind & 0xFFFF, kind >> 16, ByteStream(iter([small]))
    else:
        data = matrix
    dtype = _DTYPES.get(kind)
    if dtype is None or n_data != int(dtype[2:]) * math.prod(shape) or n_data > n_bytes:
        raise InvalidDataError(
            f"{name}: wanted as many numbers as its shape {shape} makes; got {n_data:,} bytes of "
            f"type {kind}"
        )
    return MatVariable(name, shape, dtype, data)


def _small(matrix: ByteStream, wanted: int, most: int) -> bytes:
    """A field of few bytes, of one type."""
    kind, n_bytes = struct.unpack("<2L", matrix.read(8))
    if kind >> 16:
        data = struct.pack("<L", n_bytes)[: kind >> 16]
        kind = kind & 0xFFFF
    elif n_bytes > most:
        raise InvalidDataError(f"wanted a field of at most {most} bytes; got {n_bytes:,}")
    else:
        data = matrix.read(-(-n_bytes // 8) * 8)[:n_bytes]
    if kind != wanted or (not data and wanted != 1):
        raise InvalidDataError(f"wanted a field of type {wanted}; got {kind}")
    return data
