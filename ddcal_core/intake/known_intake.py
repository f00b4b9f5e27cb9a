"""CIFAR's pickles, MNIST's IDX files and SVHN's .mat -> a data set to be written (numpy).

Nothing is unpickled: see `plain_pickle`. Images come in pieces of a few megabytes, of CIFAR a file
at a time.
"""

import contextlib
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.archives import Archive, unpacked
from ddcal_core.intake.byte_streams import ByteStream
from ddcal_core.intake.dataset_files import DatasetSource, PartSource
from ddcal_core.intake.mat_variables import MatVariable, mat_variables
from ddcal_core.intake.npz_intake import numbered
from ddcal_core.intake.structure.class_rules import MAX_CLASSES, clean_class_name
from ddcal_core.intake.structure.known_files import KnownFiles
from ddcal_core.intake.structure.members import Member
from ddcal_core.intake.structure.npz_structure import MAX_SIDE, MIN_SIDE
from ddcal_core.intake.structure.pickled_values import PlainArray
from ddcal_core.intake.structure.placed_images import Part
from ddcal_core.intake.structure.plain_pickle import read_pickle_bytes

_CHUNK_BYTES = 4 * 2**20
_CIFAR_SHAPE = (3, 32, 32)
_MAX_PICKLE_BYTES = 2**28
_IDX_BYTES = 8
_DIGITS = tuple("0123456789")


class _Held(NamedTuple):
    """What a file of images says of them: (H, W), or (H, W, C), and how many."""

    shape: tuple[int, ...]
    n_images: int


@contextlib.contextmanager
def _naming(member: Member) -> Iterator[None]:
    """Name the file in what is said of it."""
    try:
        yield
    except (InvalidDataError, struct.error) as error:
        raise InvalidDataError(f"{member.name}: {error}") from error


def cifar_source(archive: Archive, files: KnownFiles) -> DatasetSource:
    """CIFAR-10, or CIFAR-100 with its fine labels.

    Raises:
        InvalidDataError: a file is not one of CIFAR's; it is named.
    """
    key, names, told = "labels", "label_names", "CIFAR-10's Python files, by batches"
    if files.layout == "cifar100":
        key, names = "fine_labels", "fine_label_names"
        told = "CIFAR-100's Python files, fine labels"

    def batch(member: Member) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        with _naming(member):
            return _cifar_batch(_pickled(archive, member), key)

    def chunks(members: Sequence[Member]) -> Iterator[NDArray[np.uint8]]:
        for member in members:
            yield batch(member)[0].transpose(0, 2, 3, 1)

    labels = {
        part: np.concatenate([batch(member)[1] for member in members])
        for part, members in files.parts.items()
    }
    class_names = None
    for member in files.meta:
        with _naming(member):
            class_names = _cifar_names(_pickled(archive, member), names)
    labelling = numbered(labels, class_names)
    return DatasetSource(
        image_shape=_CIFAR_SHAPE,
        class_names=labelling.class_names,
        parts={
            part: PartSource(labelling.labels[part], partial(chunks, members))
            for part, members in files.parts.items()
        },
        recognised=(f"{told}.", *labelling.told),
    )


def _pickled(archive: Archive, member: Member) -> object:
    if member.n_bytes > _MAX_PICKLE_BYTES:
        raise InvalidDataError(
            f"wanted a file of at most {_MAX_PICKLE_BYTES:,} bytes; got {member.n_bytes:,}"
        )
    return read_pickle_bytes(archive.read(member))


def _cifar_batch(held: object, key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 3, 32, 32) and labels (N,) of a batch."""
    data = held.get("data") if isinstance(held, dict) else None
    labels = held.get(key) if isinstance(held, dict) else None
    n_features = math.prod(_CIFAR_SHAPE)
    if (
        not isinstance(data, PlainArray)
        or data.dtype != "|u1"
        or len(data.shape) != 2
        or data.shape[1] != n_features
        or not data.shape[0]
    ):
        raise InvalidDataError(f"wanted a dict with 'data', bytes of shape (N, {n_features:,})")
    if isinstance(labels, PlainArray) and labels.dtype[1] in "iu" and len(labels.shape) == 1:
        labels = np.frombuffer(labels.data, labels.dtype).tolist()
    if not isinstance(labels, list) or not all(
        type(one) is int and 0 <= one < MAX_CLASSES for one in labels
    ):
        raise InvalidDataError(f"wanted {key!r}, a list of numbers 0 to {MAX_CLASSES - 1}")
    if len(labels) != data.shape[0]:
        raise InvalidDataError(
            f"wanted one label an image; got {len(labels):,} of {data.shape[0]:,}"
        )
    images = np.frombuffer(data.data, np.uint8)
    rows = images.reshape(data.shape, order="F" if data.is_fortran else "C")
    return rows.reshape(-1, *_CIFAR_SHAPE), np.array(labels, np.int64)


def _cifar_names(held: object, key: str) -> tuple[str, ...]:
    names = held.get(key) if isinstance(held, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidDataError(f"wanted a dict with {key!r}, a list of names")
    cleaned = tuple(clean_class_name(name, where=key) for name in names)
    if not 2 <= len(cleaned) <= MAX_CLASSES or len(set(cleaned)) < len(cleaned):
        raise InvalidDataError(f"{key}: wanted 2 to {MAX_CLASSES} different names")
    return cleaned


def idx_source(archive: Archive, files: KnownFiles, max_decoded_bytes: int) -> DatasetSource:
    """The four files of MNIST and its kin, or two.

    Raises:
        InvalidDataError: a file is no such file, or they do not agree; it is named.
    """

    def opened(member: Member, n_axes: int) -> tuple[ByteStream, tuple[int, ...]]:
        pieces = archive.pieces(member)
        if member.name.endswith(".gz"):
            pieces = unpacked(pieces, max_decoded_bytes)
        stream = ByteStream(pieces)
        return stream, _idx_shape(stream, n_axes, max_decoded_bytes)

    def labels_of(member: Member) -> NDArray[np.int64]:
        with _naming(member):
            stream, (n_labels,) = opened(member, 1)
            data = stream.read(n_labels)
            stream.require_end()
            return np.frombuffer(data, np.uint8).astype(np.int64)

    def held_of(member: Member) -> _Held:
        with _naming(member):
            n_images, *shape = opened(member, 3)[1]
            return _Held(tuple(shape), n_images)

    def chunks(member: Member) -> Iterator[NDArray[np.uint8]]:
        with _naming(member):
            stream, (n_images, *shape) = opened(member, 3)
            for rows in _rows(stream, n_images, math.prod(shape)):
                yield rows.reshape(-1, *shape)
            stream.require_end()

    return _source(
        {part: (held_of(one[0]), labels_of(one[1])) for part, one in files.parts.items()},
        {part: partial(chunks, one[0]) for part, one in files.parts.items()},
        "IDX files, as those of MNIST.",
    )


def _idx_shape(stream: ByteStream, n_axes: int, max_decoded_bytes: int) -> tuple[int, ...]:
    zeros, kind, axes = struct.unpack(">HBB", stream.read(4))
    if zeros or kind != _IDX_BYTES or axes != n_axes:
        raise InvalidDataError(
            f"wanted an IDX file of bytes with {n_axes} axes; it starts with "
            f"{struct.pack('>HBB', zeros, kind, axes)!r}"
        )
    shape = struct.unpack(f">{n_axes}L", stream.read(4 * n_axes))
    if math.prod(shape) > max_decoded_bytes:
        raise InvalidDataError(
            f"wanted at most {max_decoded_bytes:,} bytes after decoding; got {math.prod(shape):,}"
        )
    return shape


def svhn_source(archive: Archive, files: KnownFiles, max_decoded_bytes: int) -> DatasetSource:
    """Files of MATLAB with images X (H, W, C, N), bytes, and labels y (N, 1).

    Labels 1 to 10 of ten classes are SVHN's, where 10 stands for the digit 0.

    Raises:
        InvalidDataError: a file is no such file; it is named.
    """
    held: dict[Part, tuple[_Held, NDArray[np.int64]]] = {}
    for part, members in files.parts.items():
        if len(members) > 1:
            raise InvalidDataError(
                f"{part}: wanted one .mat file; got {', '.join(one.name for one in members[:4])}"
            )
        with _naming(members[0]):
            held[part] = _mat_contents(archive, members[0], max_decoded_bytes)

    def chunks(member: Member) -> Iterator[NDArray[np.uint8]]:
        with _naming(member):
            for variable in mat_variables(archive.pieces(member)):
                if variable.name == "X":
                    height, width, n_channels, n_images = variable.shape
                    n_row = height * width * n_channels
                    for rows in _rows(variable.data, n_images, n_row):
                        yield rows.reshape(-1, n_channels, width, height).transpose(0, 3, 2, 1)

    is_svhn = all(int(labels.min()) == 1 and int(labels.max()) == 10 for _, labels in held.values())
    told, names = "MATLAB files with X and y.", None
    if is_svhn:
        told = "SVHN's MATLAB files: label 10 is the digit 0."
        names = _DIGITS
        held = {part: (one, labels % 10) for part, (one, labels) in held.items()}
    return _source(
        held, {part: partial(chunks, one[0]) for part, one in files.parts.items()}, told, names
    )


def _mat_contents(
    archive: Archive, member: Member, max_decoded_bytes: int
) -> tuple[_Held, NDArray[np.int64]]:
    """What X says of its images, and the labels y."""
    shape: tuple[int, ...] | None = None
    labels: NDArray[np.int64] | None = None
    for variable in mat_variables(archive.pieces(member)):
        if variable.n_bytes > max_decoded_bytes:
            raise InvalidDataError(
                f"{variable.name}: wanted at most {max_decoded_bytes:,} bytes after decoding; got "
                f"{variable.n_bytes:,}"
            )
        if variable.name == "X":
            if variable.dtype != "|u1" or not 3 <= len(variable.shape) <= 4:
                raise InvalidDataError(
                    f"X: wanted bytes of shape (H, W, C, N); got {variable.dtype} {variable.shape}"
                )
            shape = variable.shape
        elif variable.name == "y":
            labels = _mat_labels(variable)
    if shape is None or labels is None or len(shape) != 4:
        raise InvalidDataError("wanted images X, bytes of shape (H, W, C, N), and labels y (N, 1)")
    return _Held(shape[:3], shape[3]), labels


def _mat_labels(variable: MatVariable) -> NDArray[np.int64]:
    values = np.frombuffer(variable.data.read(variable.n_bytes), variable.dtype)
    labels = np.where(np.isfinite(values), values, -1).astype(np.int64)
    if not np.array_equal(labels, values) or labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise InvalidDataError(f"y: wanted whole numbers 0 to {MAX_CLASSES - 1}")
    return labels


def _rows(data: ByteStream, n_rows: int, n_row_bytes: int) -> Iterator[NDArray[np.uint8]]:
    """Bytes (n, B), a few megabytes at a time."""
    n_chunk = max(1, _CHUNK_BYTES // n_row_bytes)
    for start in range(0, n_rows, n_chunk):
        n = min(n_chunk, n_rows - start)
        yield np.frombuffer(data.read(n * n_row_bytes), np.uint8).reshape(n, n_row_bytes)


def _source(
    held: dict[Part, tuple[_Held, NDArray[np.int64]]],
    chunks: dict[Part, Callable[[], Iterator[NDArray[np.uint8]]]],
    told: str,
    names: tuple[str, ...] | None = None,
) -> DatasetSource:
    """A data set of files that say their sizes, which have to agree."""
    shape = held["train"][0].shape
    for part, (images, labels) in held.items():
        if images.shape != shape:
            raise InvalidDataError(
                f"{part}: wanted images of one shape; got {images.shape}, of training {shape}"
            )
        if images.n_images != len(labels) or not len(labels):
            raise InvalidDataError(
                f"{part}: wanted one label an image; got {len(labels):,} of {images.n_images:,}"
            )
    height, width, n_channels = (*shape, 1)[:3]
    if n_channels not in (1, 3) or not all(MIN_SIDE <= n <= MAX_SIDE for n in (height, width)):
        raise InvalidDataError(
            f"wanted grey or RGB images of {MIN_SIDE} to {MAX_SIDE} pixels a side; got {shape}"
        )
    labelling = numbered({part: labels for part, (_, labels) in held.items()}, names)
    return DatasetSource(
        image_shape=(n_channels, height, width),
        class_names=labelling.class_names,
        parts={part: PartSource(labelling.labels[part], chunks[part]) for part in held},
        recognised=(told, *labelling.told),
    )
