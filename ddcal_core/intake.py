"""A user's .npz -> checked tensors and what is known of them (numpy; no torch).

Run as a process of its own, `python -m ddcal_core.intake`, under the limits its supervisor sets,
speaking the trainer's protocol. Images and logits are decoded a few megabytes at a time, so memory
stays small whatever the file's size.
"""

import json
import logging
import signal
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

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
from ddcal_core.logits_intake import take_in_logits
from ddcal_core.npz_arrays import (
    count_labels,
    open_npz,
    read_class_names,
    read_labels,
    row_chunks,
    safetensors_header,
)
from ddcal_core.npz_structure import NpzStructure, inspect_npz
from ddcal_core.specs import DatasetFacts

MIN_TRAIN_IMAGES_PER_CLASS = 2

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
    with open_npz(upload) as archive:
        return _take_in(archive, structure, folder)


def _take_in(archive: zipfile.ZipFile, structure: NpzStructure, folder: Path) -> IntakeResult:
    labels = {part: read_labels(archive, f"y_{part}") for part in ("train", "test")}
    if "class_names" in structure.headers:
        class_names = read_class_names(archive)
    else:
        class_names = tuple(str(k) for k in range(_count_classes(labels["train"])))
    counts = {
        part: count_labels(f"y_{part}", labels[part], n_classes=len(class_names))
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


def _count_classes(labels: NDArray[np.int64]) -> int:
    n_classes = int(labels.max()) + 1
    if n_classes < 2:
        raise InvalidDataError("y_train: wanted at least 2 classes; every label is 0")
    return n_classes


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
        # Labels first: they need alignment.
        images_shape = (len(labels), *structure.image_shape)
        file.write(
            safetensors_header({"labels": ("I64", labels.shape), "images": ("U8", images_shape)})
        )
        file.write(labels.astype("<i8").tobytes())
        for images in row_chunks(archive, structure.headers[f"x_{part}"], f"x_{part}"):
            channels_first = images.reshape(-1, height, width, n_channels).transpose(0, 3, 1, 2)
            for c in range(n_channels):
                histogram[c] += np.bincount(channels_first[:, c].ravel(), minlength=256)
            file.write(channels_first.tobytes())
    return histogram


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
        facts, paths = _take_in_by_content(inputs, folder)
    except InvalidDataError as error:
        _LOG.info("rejected: %s", error)
        channel.send(
            {"type": "rejected", "problem": {"code": "invalid_data", "detail": str(error)}}
        )
        return
    files = [
        {"name": path.name, "path": str(path), "media_type": "application/octet-stream"}
        for path in paths
    ]
    _LOG.info("taken in after %.2f s: %s", time.monotonic() - started, json.dumps(facts))
    output = {"resource": "dataset", "key": "dataset", "values": {"facts": facts}, "files": files}
    channel.send({"type": "outputs", "outputs": [output]})


def _take_in_by_content(
    inputs: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Take in what the upload is said to hold; give its facts and its files."""
    upload, max_decoded_bytes = Path(inputs["upload_path"]), int(inputs["max_decoded_bytes"])
    if inputs.get("content") == "logits":
        logits = take_in_logits(upload, folder, max_decoded_bytes)
        return logits.facts.model_dump(mode="json"), logits.paths
    images = take_in(upload, folder, max_decoded_bytes)
    return images.facts.model_dump(mode="json"), (images.train_path, images.test_path)


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
