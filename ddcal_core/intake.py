"""A user's .npz -> checked tensors and the facts of the data set (numpy; no torch).

Run as a process of its own, `python -m ddcal_core.intake`, under the limits its supervisor sets,
speaking the trainer's protocol. Images are decoded a few megabytes at a time, so memory stays
small whatever the file's size.
"""

import json
import logging
import math
import signal
import struct
import sys
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError, StoppedError
from ddcal_core.job_channel import (
    JobChannel,
    describe_failure,
    print_into,
    read_job,
    take_stdout,
)
from ddcal_core.npz_structure import (
    MAX_CLASSES,
    NpyHeader,
    NpzStructure,
    inspect_npz,
    read_npy_header,
)
from ddcal_core.specs import DatasetFacts

MAX_CLASS_NAME_LENGTH = 64
MIN_TRAIN_IMAGES_PER_CLASS = 2

_CHUNK_BYTES = 4 * 2**20
_LOG = logging.getLogger("ddcal.intake")


@dataclass(frozen=True)
class IntakeResult:
    """A data set taken in.

    Attributes:
        facts: shape, classes, counts and the statistics of the training images.
        train_path: safetensors with images uint8 (N, C, H, W) and labels int64 (N,).
        test_path: likewise.
    """

    facts: DatasetFacts
    train_path: Path
    test_path: Path


def take_in(upload: Path, folder: Path, max_decoded_bytes: int) -> IntakeResult:
    """Check an uploaded data set, content included, and write it as tensors.

    Args:
        upload: the .npz (see npz_structure).
        folder: an existing folder for train.safetensors and test.safetensors.
        max_decoded_bytes: largest total size after decoding.

    Returns:
        The facts and where the tensors lie.

    Raises:
        InvalidDataError: the data cannot be used; says what was wanted and what was got.
    """
    structure = inspect_npz(upload, max_decoded_bytes)
    # zipfile raises these where bytes do not decode or their checksum is wrong.
    try:
        with zipfile.ZipFile(upload) as archive:
            return _take_in(archive, structure, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InvalidDataError(f"wanted data that decode whole; got: {error}") from error


def _take_in(archive: zipfile.ZipFile, structure: NpzStructure, folder: Path) -> IntakeResult:
    labels = {part: _read_labels(archive, part) for part in ("train", "test")}
    class_names = _read_class_names(archive, structure)
    if class_names is None:
        class_names = tuple(str(k) for k in range(_count_classes(labels["train"])))
    counts = {
        part: _count_labels(part, labels[part], n_classes=len(class_names))
        for part in ("train", "test")
    }
    _check_train_counts(counts["train"], class_names)
    paths = {part: folder / f"{part}.safetensors" for part in ("train", "test")}
    histograms = {
        part: _write_part(archive, structure, part, labels[part], path)
        for part, path in paths.items()
    }
    mean, std = _channel_statistics(histograms["train"])
    facts = DatasetFacts(
        image_shape=structure.image_shape,
        class_names=class_names,
        train_class_counts=counts["train"],
        test_class_counts=counts["test"],
        mean=mean,
        std=std,
    )
    return IntakeResult(facts, paths["train"], paths["test"])


def _read_labels(archive: zipfile.ZipFile, part: str) -> NDArray[np.int64]:
    labels = _read_whole(archive, f"y_{part}")
    largest = int(labels.max())
    if int(labels.min()) < 0 or largest >= MAX_CLASSES:
        raise InvalidDataError(
            f"y_{part}: wanted labels 0 to {MAX_CLASSES - 1}; got {int(labels.min())} to {largest}"
        )
    return labels.astype(np.int64)


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


def _read_class_names(archive: zipfile.ZipFile, structure: NpzStructure) -> tuple[str, ...] | None:
    if "class_names" not in structure.headers:
        return None
    header, data = _read_data(archive, "class_names")
    byte_order = ">" if header.dtype.startswith(">") else "<"
    # Numbers first: a text array may hold code points that no character has.
    n_characters = header.n_bytes // 4 // header.shape[0]
    names = []
    for k in range(header.shape[0]):
        points = struct.unpack_from(f"{byte_order}{n_characters}L", data, 4 * n_characters * k)
        names.append(_clean_class_name(points, k))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidDataError(f"class_names: wanted distinct names; got {twice!r} twice")
    return tuple(names)


def _clean_class_name(points: tuple[int, ...], k: int) -> str:
    if any(point > sys.maxunicode or 0xD800 <= point <= 0xDFFF for point in points):
        raise InvalidDataError(f"class_names[{k}]: wanted text; got a number that is no character")
    name = "".join(map(chr, points)).rstrip("\0")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in name):
        raise InvalidDataError(
            f"class_names[{k}]: wanted no control or format characters; got {name[:80]!r}"
        )
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MAX_CLASS_NAME_LENGTH:
        raise InvalidDataError(
            f"class_names[{k}]: wanted 1 to {MAX_CLASS_NAME_LENGTH} characters; got {len(name)}"
        )
    return name


def _count_classes(labels: NDArray[np.int64]) -> int:
    n_classes = int(labels.max()) + 1
    if n_classes < 2:
        raise InvalidDataError("y_train: wanted at least 2 classes; every label is 0")
    return n_classes


def _count_labels(part: str, labels: NDArray[np.int64], *, n_classes: int) -> tuple[int, ...]:
    largest = int(labels.max())
    if largest >= n_classes:
        raise InvalidDataError(
            f"y_{part}: wanted labels 0 to {n_classes - 1}, as there are {n_classes} classes; "
            f"got {largest}"
        )
    return tuple(int(count) for count in np.bincount(labels, minlength=n_classes))


def _check_train_counts(counts: tuple[int, ...], class_names: tuple[str, ...]) -> None:
    for k, count in enumerate(counts):
        if count < MIN_TRAIN_IMAGES_PER_CLASS:
            raise InvalidDataError(
                f"y_train: wanted at least {MIN_TRAIN_IMAGES_PER_CLASS} training images of each "
                f"class; got {count} of class {k} ({class_names[k]!r})"
            )


def _write_part(
    archive: zipfile.ZipFile,
    structure: NpzStructure,
    part: str,
    labels: NDArray[np.int64],
    path: Path,
) -> NDArray[np.int64]:
    """Write one split as safetensors, images a chunk at a time.

    Returns:
        How often each pixel value occurs in each channel, int64 (C, 256).
    """
    n_channels, height, width = structure.image_shape
    histogram = np.zeros((n_channels, 256), np.int64)
    with path.open("wb") as file:
        file.write(_safetensors_header(len(labels), structure.image_shape))
        file.write(labels.astype("<i8").tobytes())
        for images in _image_chunks(archive, structure, f"x_{part}"):
            channels_first = images.reshape(-1, height, width, n_channels).transpose(0, 3, 1, 2)
            for c in range(n_channels):
                histogram[c] += np.bincount(channels_first[:, c].ravel(), minlength=256)
            file.write(channels_first.tobytes())
    return histogram


def _safetensors_header(n_images: int, image_shape: tuple[int, int, int]) -> bytes:
    """Lay out labels (first: they need alignment), then images."""
    n_label_bytes = 8 * n_images
    n_image_bytes = n_images * math.prod(image_shape)
    header = json.dumps(
        {
            "labels": {"dtype": "I64", "shape": [n_images], "data_offsets": [0, n_label_bytes]},
            "images": {
                "dtype": "U8",
                "shape": [n_images, *image_shape],
                "data_offsets": [n_label_bytes, n_label_bytes + n_image_bytes],
            },
        },
        separators=(",", ":"),
    ).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header


def _image_chunks(
    archive: zipfile.ZipFile, structure: NpzStructure, key: str
) -> Iterator[NDArray[np.uint8]]:
    """Give the images in order, uint8 (n, H, W) or (n, H, W, C), a few megabytes at a time."""
    header = structure.headers[key]
    n_chunk = max(1, _CHUNK_BYTES // math.prod(header.shape[1:]))
    if header.fortran_order:
        # The first image ends near the end of the data: there is no reading it in pieces.
        images = _read_whole(archive, key)
        for start in range(0, len(images), n_chunk):
            yield images[start : start + n_chunk]
        return
    yield from _stream_images(archive, header, key, n_chunk=n_chunk)


def _stream_images(
    archive: zipfile.ZipFile, header: NpyHeader, key: str, *, n_chunk: int
) -> Iterator[NDArray[np.uint8]]:
    n_images, *image_shape = header.shape
    with archive.open(f"{key}.npy") as stream:
        read_npy_header(stream)
        for start in range(0, n_images, n_chunk):
            n = min(n_chunk, n_images - start)
            data = _read_exactly(stream, n * math.prod(image_shape), key)
            yield np.frombuffer(data, np.uint8).reshape(n, *image_shape)
        _check_end(stream, key)


def _channel_statistics(
    histogram: NDArray[np.int64],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and standard deviation of each channel, of pixels in [0, 1].

    Args:
        histogram: occurrences of each pixel value, int64 (C, 256).
    """
    values = np.arange(256) / 255
    shares = histogram / histogram.sum(1, keepdims=True)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(1))
    for c, has_one_value in enumerate((histogram > 0).sum(1) == 1):
        if has_one_value:
            raise InvalidDataError(
                "x_train: wanted images that differ; every pixel of channel "
                f"{c} is {round(mean[c] * 255)}"
            )
    return tuple(map(float, mean)), tuple(map(float, std))


def _run(job: dict[str, Any], channel: JobChannel) -> None:
    """Take one upload in and report: outputs, or rejected with the problem."""
    inputs, folder = job["inputs"], Path(job["work_folder"])
    started = time.monotonic()
    try:
        result = take_in(Path(inputs["upload_path"]), folder, int(inputs["max_decoded_bytes"]))
    except InvalidDataError as error:
        _LOG.info("rejected: %s", error)
        channel.send(
            {"type": "rejected", "problem": {"code": "invalid_data", "detail": str(error)}}
        )
        return
    files = [
        {"name": path.name, "path": str(path), "media_type": "application/octet-stream"}
        for path in (result.train_path, result.test_path)
    ]
    facts = result.facts.model_dump(mode="json")
    _LOG.info("taken in after %.2f s: %s", time.monotonic() - started, json.dumps(facts))
    output = {"resource": "dataset", "key": "dataset", "values": {"facts": facts}, "files": files}
    channel.send({"type": "outputs", "outputs": [output]})


def _stop(_signal_number: int, _frame: FrameType | None) -> NoReturn:
    raise StoppedError


def main() -> int:
    """Speak the protocol: ready, one job line, then outputs, rejected, stopped or failed."""
    channel = take_stdout()
    channel.send({"type": "ready"})
    job = read_job(sys.stdin.buffer)
    if job is None:
        return 0
    print_into(Path(job["log_file"]))
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        signal.signal(signal.SIGTERM, _stop)
        _LOG.info("intake, numpy %s", np.__version__)
        _run(job, channel)
    except StoppedError:
        channel.send({"type": "stopped"})
        return 0
    except Exception as error:  # noqa: BLE001  the process's edge: whatever it is, say so and end
        _LOG.exception("failed")
        channel.send({"type": "failed", "error": describe_failure(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
