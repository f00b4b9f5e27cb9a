"""Where the arrays of an uploaded file lie: .pt, .npz, safetensors (standard library only)."""

import io
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.npz_headers import read_npy_header
from ddcal_core.intake.structure.pickled_values import TensorPlace
from ddcal_core.intake.structure.plain_pickle import (
    MAX_PICKLE_BYTES,
    read_pickle_bytes,
    read_plain_pickle,
)
from ddcal_core.intake.structure.zip_directory import (
    ZipEntry,
    read_entry,
    read_entry_start,
)

_MAX_HEADER_BYTES = 2**20
_MOST_NESTED = 3
_NPY_START = 2**14  # more than a header of those that are read may have
_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "|i1", "U8": "|u1",
}  # fmt: skip
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class ArrayPlace(NamedTuple):
    """An array, not yet read.

    Attributes:
        entry: of the zip it lies in; None where the file is no zip.
        start: of its first byte, in the entry or in the file.
        dtype: as numpy writes it.
        shape: of the array.
        is_fortran: whether the first axis varies fastest.
    """

    entry: ZipEntry | None
    start: int
    dtype: str
    shape: tuple[int, ...]
    is_fortran: bool = False

    @property
    def n_bytes(self) -> int:
        """How many bytes it has."""
        return int(self.dtype[2:]) * math.prod(self.shape)


def read_torch_zip(path: Path, entries: Sequence[ZipEntry]) -> object:
    """Read what a .pt of PyTorch 1.6 or later holds, its tensors as `ArrayPlace`s.

    Args:
        path: of the file.
        entries: of its zip.

    Raises:
        InvalidDataError: it is no such file; says what was wanted and what was got.
    """
    by_name = {entry.name: entry for entry in entries}
    root = next(name for name in by_name if name.endswith("/data.pkl")).removesuffix("data.pkl")
    pickled = by_name[f"{root}data.pkl"]
    if pickled.n_bytes > MAX_PICKLE_BYTES:
        raise InvalidDataError(
            f"wanted a .pt file whose structure takes at most {MAX_PICKLE_BYTES:,} bytes; got "
            f"{pickled.n_bytes:,}"
        )
    with path.open("rb") as file:
        order = by_name.get(f"{root}byteorder")
        if order is not None and (order.n_bytes > 16 or read_entry(file, order) != b"little"):
            raise InvalidDataError("wanted a .pt file in little-endian byte order")
        held = read_pickle_bytes(read_entry(file, pickled))

    def placed(tensor: TensorPlace) -> ArrayPlace:
        entry = by_name.get(f"{root}data/{tensor.storage.key}")
        size = int(tensor.storage.dtype[2:])
        if entry is None or entry.n_bytes < tensor.storage.size * size:
            raise InvalidDataError(
                f"wanted {tensor.storage.size * size:,} bytes of tensor {tensor.storage.key[:40]!r}"
                f"; got {0 if entry is None else entry.n_bytes:,}"
            )
        return ArrayPlace(entry, tensor.offset * size, tensor.storage.dtype, tensor.shape)

    return _with_places(held, placed)


def read_legacy_torch(path: Path) -> object:
    """Likewise what a .pt of PyTorch before 1.6 holds: pickles, then the bytes of its tensors."""
    with path.open("rb") as file:
        # Before their tensors' bytes: in a window, so that no pickle is longer than it may be.
        window = io.BytesIO(file.read(MAX_PICKLE_BYTES))
        magic, protocol = read_plain_pickle(window), read_plain_pickle(window)
        if (magic, protocol) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
            raise InvalidDataError("wanted a .pt file that torch.save has written; got a pickle")
        system, held, keys = (read_plain_pickle(window) for _ in range(3))
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise InvalidDataError("wanted a .pt file in little-endian byte order")
        sizes: dict[str, int] = {}

        def note_size(tensor: TensorPlace) -> TensorPlace:
            sizes[tensor.storage.key] = int(tensor.storage.dtype[2:]) * tensor.storage.size
            return tensor

        _with_places(held, note_size)
        starts, at = {}, window.tell()
        for key in keys if isinstance(keys, list) else ():
            n_bytes = sizes.get(key) if isinstance(key, str) else None
            if n_bytes is None:
                raise InvalidDataError("wanted a whole .pt file; a tensor of it is missing")
            starts[key], at = at + 8, at + 8 + n_bytes
    if at > path.stat().st_size or set(starts) != set(sizes):
        raise InvalidDataError("wanted a whole .pt file; it ends before its last tensor")

    def placed(tensor: TensorPlace) -> ArrayPlace:
        start = starts[tensor.storage.key] + tensor.offset * int(tensor.storage.dtype[2:])
        return ArrayPlace(None, start, tensor.storage.dtype, tensor.shape)

    return _with_places(held, placed)


def read_safetensors(path: Path) -> dict[str, ArrayPlace]:
    """Read which arrays a safetensors file says it holds, and where.

    Raises:
        InvalidDataError: it is no such file; says what was wanted and what was got.
    """
    n_file = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER_BYTES, n_file - 8):
            raise InvalidDataError("wanted a whole safetensors file; its header is cut off")
        header = file.read(length)
    try:
        held = json.loads(header, object_pairs_hook=_each_name_once)
    except (ValueError, RecursionError) as error:
        raise InvalidDataError("wanted a safetensors file; its header is no JSON") from error
    if not isinstance(held, dict):
        raise InvalidDataError("wanted a safetensors file; its header names no tensors")
    tensors = {name: one for name, one in held.items() if name != "__metadata__"}
    found = {name: _in_safetensors(name, one, 8 + length, n_file) for name, one in tensors.items()}
    _require_whole(found, 8 + length, n_file)
    return found


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that is there twice, of which readers take either."""
    held: dict[str, Any] = {}
    for name, value in pairs:
        if name in held:
            raise InvalidDataError(
                f"{name[:80]}: wanted each name once in the header; got it twice"
            )
        held[name] = value
    return held


def _require_whole(tensors: Mapping[str, ArrayPlace], start: int, end: int) -> None:
    """Refuse tensors that share bytes, and bytes of none, as the format does.

    Args:
        tensors: in the file, by their names.
        start: of their bytes.
        end: of the file.
    """
    for name, place in sorted(tensors.items(), key=lambda one: (one[1].start, one[1].n_bytes)):
        if place.start != start:
            what = "it shares some with another" if place.start < start else "some are of none"
            raise InvalidDataError(
                f"{name[:80]}: wanted tensors one behind the other, each with bytes of its own; "
                f"{what}"
            )
        start += place.n_bytes
    if start != end:
        raise InvalidDataError(
            f"wanted a safetensors file that ends with its tensors; got {end - start:,} bytes more"
        )


def _in_safetensors(name: str, said: object, base: int, n_file: int) -> ArrayPlace:
    fields: dict[str, Any] = said if isinstance(said, dict) else {}
    dtype, shape, places = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _SAFETENSORS_DTYPES:
        raise InvalidDataError(
            f"{name[:80]}: wanted dtype {', '.join(_SAFETENSORS_DTYPES)}; got {str(dtype)[:20]!r}"
        )
    if not _are_counts(shape, most=4) or not _are_counts(places, most=2) or len(places) != 2:
        raise InvalidDataError(f"{name[:80]}: wanted at most 4 sizes and two offsets")
    place = ArrayPlace(None, base + places[0], _SAFETENSORS_DTYPES[dtype], tuple(shape))
    if places[1] - places[0] != place.n_bytes or place.start + place.n_bytes > n_file:
        raise InvalidDataError(
            f"{name[:80]}: wanted {place.n_bytes:,} bytes, as {dtype} {place.shape} takes, within "
            f"the file of {n_file:,}; got bytes {places[0]:,} to {places[1]:,}"
        )
    return place


def _are_counts(values: object, *, most: int) -> TypeGuard[list[int]]:
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(type(value) is int and 0 <= value < 2**48 for value in values)
    )


def read_npz(path: Path, entries: Sequence[ZipEntry]) -> dict[str, ArrayPlace]:
    """Read which arrays a .npz holds, and where; text is passed over.

    Raises:
        InvalidDataError: a member is no array, or an array of anything but numbers and text.
    """
    found = {}
    with path.open("rb") as file:
        for entry in entries:
            if not entry.name.endswith(".npy"):
                raise InvalidDataError(f"{entry.name}: wanted arrays (.npy) alone in a .npz")
            header = read_npy_header(io.BytesIO(read_entry_start(file, entry, _NPY_START)))
            if "U" in header.dtype:
                continue
            dtype = header.dtype.replace("=", "<")
            dtype = dtype if dtype[0] in "<>|" else f"<{dtype}"
            place = ArrayPlace(entry, header.offset, dtype, header.shape, header.fortran_order)
            if header.offset + place.n_bytes != entry.n_bytes:
                raise InvalidDataError(
                    f"{entry.name}: wanted {header.offset + place.n_bytes:,} bytes, as its dtype "
                    f"and shape make; got {entry.n_bytes:,}"
                )
            found[entry.name.removesuffix(".npy")] = place
    return found


def _with_places(held: object, place: Callable[[TensorPlace], object]) -> object:
    """What was read, to the depth that files of sets have, each tensor placed."""
    # A list may hold itself, many times over: each is gone through once.
    seen: dict[int, list[object]] = {}

    def placed(value: object, depth: int) -> object:
        if isinstance(value, TensorPlace):
            return place(value)
        if not isinstance(value, list | tuple) or depth == 0:
            return value
        if id(value) not in seen:
            seen[id(value)] = []
            seen[id(value)].extend(placed(one, depth - 1) for one in value)
        return seen[id(value)]

    if isinstance(held, dict):
        return {key: placed(value, _MOST_NESTED) for key, value in held.items()}
    return placed(held, _MOST_NESTED)
