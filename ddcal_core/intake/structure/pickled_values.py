"""What pickles of tensors and arrays are made of, before it is read (standard library only)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ddcal_core.errors import InvalidDataError

NUMBERS: Final[Mapping[str, str]] = {
    "f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "i2": "<h", "i1": "<b", "u1": "<B",
}  # fmt: skip
"""Dtypes of numpy's numbers -> how struct reads one, little-endian."""


class Named(NamedTuple):
    """Something that the pickle names, such as a function; it is not looked up."""

    name: str


class Storage(NamedTuple):
    """Where a tensor's numbers are.

    Attributes:
        dtype: as numpy writes it.
        key: of the bytes in the file.
        size: numbers in them.
    """

    dtype: str
    key: str
    size: int


class TensorPlace(NamedTuple):
    """A tensor, not yet read.

    Attributes:
        storage: of its numbers.
        offset: of its first number among them.
        shape: of the tensor.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]


@dataclass
class PlainArray:
    """An array of numpy.

    Attributes:
        dtype: as numpy writes it, "|u1" for bytes.
        shape: of it.
        is_fortran: whether the first axis varies fastest.
        data: its bytes, as many as dtype and shape make.
    """

    dtype: str = ""
    shape: tuple[int, ...] = ()
    is_fortran: bool = False
    data: bytes = b""


class NumberKind(NamedTuple):
    """A dtype of numpy, of one number."""

    name: str


def count(value: object) -> int:
    """A size.

    Raises:
        TypeError: it cannot be one.
    """
    if type(value) is not int or not 0 <= value < 2**48:
        raise TypeError(f"a size of {str(value)[:20]}")
    return value


def new_array(arguments: tuple[Any, ...]) -> PlainArray:
    """An array still to be filled."""
    kind, shape, _ = arguments
    if kind != Named("numpy.ndarray") or shape != (0,):
        raise TypeError("an array of another kind than numpy's own")
    return PlainArray()


def fill_array(array: PlainArray, state: tuple[Any, ...]) -> None:
    """Give a new array what its state says: shape, dtype, order and bytes.

    Raises:
        InvalidDataError, TypeError, ValueError: it is no such state.
    """
    if array.dtype:
        raise TypeError("an array with two states")
    _, shape, kind, is_fortran, data = state
    _set_array(array, data, kind, shape, is_fortran=bool(is_fortran))


def array_of_bytes(arguments: tuple[Any, ...]) -> PlainArray:
    """An array by its bytes, dtype, shape and order; raises what `fill_array` does."""
    data, kind, shape, order = arguments
    array = PlainArray()
    _set_array(array, data, kind, shape, is_fortran=order == "F")
    return array


def _set_array(
    array: PlainArray, data: object, kind: object, shape: object, *, is_fortran: bool
) -> None:
    if not isinstance(kind, NumberKind) or not isinstance(shape, tuple):
        raise InvalidDataError("wanted arrays of plain numbers; got one of something else")
    held = data.encode("latin1") if isinstance(data, str) else data
    sizes = tuple(map(count, shape))
    n_bytes = int(kind.name[1:]) * math.prod(sizes)
    if not isinstance(held, bytes | bytearray) or len(held) != n_bytes or len(sizes) > 4:
        raise InvalidDataError(
            f"wanted an array of {kind.name} and shape {sizes[:5]} with its {n_bytes:,} bytes; got "
            f"{len(held) if isinstance(held, bytes | bytearray) else 'none'}"
        )
    array.dtype, array.shape = f"{'|' if kind.name.endswith('1') else '<'}{kind.name}", sizes
    array.is_fortran, array.data = is_fortran, bytes(held)
