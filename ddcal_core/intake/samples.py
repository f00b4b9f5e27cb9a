"""A few training images of each class as one picture, for people to see what was taken in."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

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
    with safe_open(train_path, "numpy") as file:
        labels: NDArray[np.int64] = file.get_tensor("labels")
        images = file.get_slice("images")
        places = [
            place
            for label in range(min(facts.n_classes, MAX_CLASSES))
            for place in np.flatnonzero(labels == label)[:MAX_PER_CLASS].tolist()
        ]
        # One at a time: a data set may be larger than the memory that this process has.
        pixels = np.stack([_small(images[place : place + 1][0]) for place in places])
    return sheet_png(pixels, labels[places], facts, foot=_left_out(facts))


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
