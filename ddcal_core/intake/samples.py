"""A few training images of each class as one picture, for people to see what was taken in."""

import json
import math
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddcal_core.formats.pictures import sheet_png
from ddcal_core.specs.facts import DatasetFacts

MAX_CLASSES = 30
MAX_PER_CLASS = 12
MAX_SIDE = 48
"""Larger images are shown smaller: the picture stays below some megabytes whatever was sent."""


def samples_png(train_path: Path, facts: DatasetFacts) -> bytes:
    """Draw the first training images of each class; a last line says what is left out.

    Args:
        train_path: safetensors with images uint8 (N, C, H, W) and labels int64 (N,).
        facts: of the data set.

    Returns:
        A PNG of at most 30 classes and 12 images of each.
    """
    with train_path.open("rb") as file:
        tensors = _tensors(file)
        labels = _read(file, tensors["labels"], np.dtype("<i8"))
        places = [
            place
            for label in range(min(facts.n_classes, MAX_CLASSES))
            for place in np.flatnonzero(labels == label)[:MAX_PER_CLASS].tolist()
        ]
        images = tensors["images"]
        rows = (_read(file, images.row(place), np.dtype("u1"))[0] for place in places)
        pixels = np.stack([_small(image) for image in rows])
    return sheet_png(pixels, labels[places], facts, foot=_left_out(facts))


class _Tensor(NamedTuple):
    """Where a tensor, or a part of one, lies in a file."""

    shape: tuple[int, ...]
    start: int

    def row(self, place: int) -> "_Tensor":
        """One row of a tensor of bytes."""
        own = self.shape[1:]
        return _Tensor((1, *own), self.start + place * math.prod(own))


def _tensors(file: IO[bytes]) -> dict[str, _Tensor]:
    """Each tensor of a safetensors by its name.

    The library maps the whole file, and a data set may be larger than this process may address.
    """
    n_bytes = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(n_bytes))
    return {
        name: _Tensor(tuple(one["shape"]), 8 + n_bytes + one["data_offsets"][0])
        for name, one in header.items()
        if name != "__metadata__"
    }


def _read(file: IO[bytes], tensor: _Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    file.seek(tensor.start)
    content = file.read(math.prod(tensor.shape) * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape(tensor.shape)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give uint8 (C, H, W) with no side above `MAX_SIDE`."""
    n_channels, height, width = image.shape
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(image[0] if n_channels == 1 else image.transpose(1, 2, 0))
    small = np.asarray(picture.resize(size, Image.Resampling.BOX))
    return small[np.newaxis] if n_channels == 1 else small.transpose(2, 0, 1)


def _left_out(facts: DatasetFacts) -> str:
    said = []
    if facts.n_classes > MAX_CLASSES:
        said.append(f"the first {MAX_CLASSES} of {facts.n_classes:,} classes")
    n_most = max(facts.train_class_counts)
    if n_most > MAX_PER_CLASS:
        said.append(f"the first {MAX_PER_CLASS} of up to {n_most:,} training images per class")
    return f"Shown: {', '.join(said)}." if said else ""
