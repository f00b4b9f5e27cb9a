"""A data set as the trainer reads it: a safetensors file a split, and what is known of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.npz_arrays import safetensors_header
from ddcal_core.intake.repeats import RowDigests, shared_rows
from ddcal_core.specs.facts import DatasetFacts


@dataclass(frozen=True)
class TakenDataset:
    """A data set taken in.

    Attributes:
        facts: shape, classes, counts and the statistics of the training images.
        train_path: safetensors with images uint8 (N, C, H, W) and labels int64 (N,).
        test_path: likewise.
    """

    facts: DatasetFacts
    train_path: Path
    test_path: Path


class WrittenSplit(NamedTuple):
    """What was seen of a split's images while they were written.

    Attributes:
        histogram: how often each pixel value occurs in each channel, int64 (C, 256).
        digests: of the images, of pixels alone.
    """

    histogram: NDArray[np.int64]
    digests: RowDigests


def write_split(
    path: Path,
    labels: NDArray[np.int64],
    image_shape: tuple[int, int, int],
    chunks: Iterable[NDArray[np.uint8]],
) -> WrittenSplit:
    """Write one split as safetensors, images a chunk at a time.

    Args:
        path: of the file.
        labels: (N,).
        image_shape: (C, H, W).
        chunks: the N images in order, each chunk of any number of them (n, H, W, C), or (n, H, W)
            where C is 1.

    Returns:
        Pixel counts and digests.
    """
    n_channels, height, width = image_shape
    histogram, digests = np.zeros((n_channels, 256), np.int64), RowDigests()
    with path.open("wb") as file:
        # Labels first: they need alignment.
        images_shape = (len(labels), *image_shape)
        file.write(
            safetensors_header({"labels": ("I64", labels.shape), "images": ("U8", images_shape)})
        )
        file.write(labels.astype("<i8").tobytes())
        for images in chunks:
            channels_first = images.reshape(-1, height, width, n_channels).transpose(0, 3, 1, 2)
            for c in range(n_channels):
                histogram[c] += np.bincount(channels_first[:, c].ravel(), minlength=256)
            written = channels_first.tobytes()
            file.write(written)
            digests.add(written, math.prod(image_shape))
    return WrittenSplit(histogram, digests)


def check_leak(train: WrittenSplit, test: WrittenSplit) -> tuple[int, str | None]:
    """Count the test images that are training images as well, to the last pixel.

    Returns:
        How many, and words for the facts' notes where there are any.

    Raises:
        InvalidDataError: every one is, by more than chance.
    """
    shared = shared_rows(train.digests, test.digests)
    if shared.is_all and not shared.may_be_chance:
        raise InvalidDataError(
            "wanted test images that are not trained on; every one of the "
            f"{shared.n:,} test images is also a training image, in whatever order or file"
        )
    if shared.n == 0:
        return 0, None
    n_test = len(test.digests.as_array())
    return shared.n, (
        f"{shared.n:,} of the {n_test:,} test images ({100 * shared.n / n_test:.1f} %) are also "
        "training images, to the last pixel, which flatters every number measured on them. Take "
        "them out of either part."
    )


def channel_statistics(
    histogram: NDArray[np.int64],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and standard deviation of each channel, of pixels in [0, 1].

    Args:
        histogram: of the training images, occurrences of each pixel value, int64 (C, 256).

    Raises:
        InvalidDataError: all pixels of a channel are alike.
    """
    values = np.arange(256) / 255
    shares = histogram / histogram.sum(1, keepdims=True)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(1))
    for c, has_one_value in enumerate((histogram > 0).sum(1) == 1):
        if has_one_value:
            raise InvalidDataError(
                "wanted training images that differ; every pixel of channel "
                f"{c} is {round(mean[c] * 255)}"
            )
    return tuple(map(float, mean)), tuple(map(float, std))
