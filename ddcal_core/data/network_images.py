"""Images as networks read them, made of stored pixels a batch at a time.

A data set as float32 takes four times the memory of its pixels. In the standard space a batch is
made in less than a hundredth of the time that a network takes for it, so pixels are all that is
kept. Whitening an image of 3 x 32 x 32, a product with a matrix of 3,072 x 3,072, takes as long as
a ConvNet of width 32: whitened images are made once and kept. `benchmarks.data_memory` has both.
"""

import copy
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ddcal_core.data.input_space import InputSpace, Standard, check_shape, enter
from ddcal_core.data.labelled import as_pixels

_CHUNK = 2_000  # images moved to another device at once


class NetworkImages(Protocol):
    """Images in network-input space that are taken by index: a tensor, or `PixelImages`."""

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""

    @property
    def device(self) -> torch.device:
        """Where batches live, and indices have to."""

    @property
    def dtype(self) -> torch.dtype:
        """Of batches; floating point."""

    def __len__(self) -> int:
        """Give the number of images N."""

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        """Give the images (M, C, H, W) at int64 places (M,), where bool (N,) is True, or a slice's.

        All are `images[:]`.
        """


class PixelImages:
    """Images kept as pixels; a batch is brought into the standard space when it is asked for.

    It then is what `enter` makes of it, bit for bit, whatever the batch and the device.

    Args:
        pixels: uint8 (N, C, H, W), 0 to 255; never copied or changed.
        index: int64 (M,) into them, which images these are; on their device.
        space: on their device.

    Raises:
        InvalidDataError: pixels of another number of channels than the space's.
    """

    dtype = torch.float32

    def __init__(self, pixels: Tensor, index: Tensor, space: Standard) -> None:
        check_shape(space, pixels)
        self._pixels, self._index, self._space = pixels, index, space

    @property
    def shape(self) -> torch.Size:
        """Give (M, C, H, W)."""
        return torch.Size((len(self._index), *self._pixels.shape[1:]))

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self._pixels.device

    def __len__(self) -> int:
        """Give the number of images M."""
        return len(self._index)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        """Give a batch, float32; see `NetworkImages`."""
        # In place: new memory for each step would take three times as long.
        return self._space.enter_(as_pixels(self._pixels[self._index[index]]))

    def at(self, index: Tensor) -> "PixelImages":
        """Give some of the images, at int64 places, kept in the same pixels."""
        return PixelImages(self._pixels, self._index[index], self._space)


def network_images(
    pixels: Tensor, index: Tensor, space: InputSpace, device: torch.device
) -> NetworkImages:
    """Images of a data set as networks of a space read them.

    Args:
        pixels: uint8 (N, C, H, W) on the CPU.
        index: int64 (M,) into them, on the CPU.
        space: on the CPU.
        device: where batches are to live.

    Returns:
        Of the standard space M `PixelImages`, on the CPU of the very pixels given; of a whitened
        one float32 (M, C, H, W).

    Raises:
        InvalidDataError: what `enter` refuses.
    """
    if not isinstance(space, Standard):
        return enter(space, pixels, index).to(device)
    if device == pixels.device:
        return PixelImages(pixels, index, space)
    moved = torch.empty((len(index), *pixels.shape[1:]), dtype=pixels.dtype, device=device)
    for start in range(0, len(index), _CHUNK):
        part = slice(start, start + _CHUNK)
        moved[part] = pixels[index[part]].to(device)
    places = torch.arange(len(index), device=device)
    return PixelImages(moved, places, copy.deepcopy(space).to(device))


def pick(images: NetworkImages, index: Tensor) -> NetworkImages:
    """Some of the images, at int64 places on their device; pixels stay pixels."""
    return images.at(index) if isinstance(images, PixelImages) else images[index]


def by_batch(
    answer: Callable[[Tensor], Tensor], images: NetworkImages, *, batch_size: int
) -> Tensor:
    """What a network, or any function of images, answers for all of them.

    Args:
        answer: from images (n, C, H, W) to (n, ...), without gradients.
        images: N of them; of none it is asked once, for no image.
        batch_size: images at once.

    Returns:
        (N, ...), in the images' order.
    """
    answers: Tensor | None = None
    for start in range(0, max(1, len(images)), batch_size):
        part = answer(images[start : start + batch_size])
        # Filled, not joined: small parts made among large intermediate results would lie between
        # these, and keep their memory from being used again.
        if answers is None:
            answers = part.new_empty((len(images), *part.shape[1:]))
        answers[start : start + batch_size] = part
    assert answers is not None
    return answers
