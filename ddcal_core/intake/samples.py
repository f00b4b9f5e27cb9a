"""A few training images of each class as one picture, for people to see what was taken in."""

import json
import math
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.formats.pictures import SAMPLES, sheet_png, shown_images
from ddcal_core.specs.facts import DatasetFacts


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
        images = tensors["images"]
        rows = [images.row(place) for place in shown_images(labels, SAMPLES).tolist()]
        pixels = np.concatenate([_read(file, row, np.dtype("u1")) for row in rows])
    return sheet_png(pixels, labels, facts, SAMPLES)


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
