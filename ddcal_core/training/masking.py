"""The one random binary mask: on synthetic images it is MDT, on validation images MTS."""

import math

import torch
from torch import Tensor

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.specs.masks import MaskSpec


def draw_mask(spec: MaskSpec, images: NetworkImages, generator: torch.Generator) -> Tensor:
    """A mask for each image: 0 where it is masked, 1 where it is kept.

    Every pixel, or patch of pixels, is 0 with chance `spec.ratio` and 1 otherwise, on its own.
    With ratio 0 all are 1.

    Args:
        spec: the share to mask, and what is masked together: pixels of a patch, channels of an
            image, images of the batch.
        images: (N, C, H, W), floating point; only shape, dtype and device are read.
        generator: a CPU generator; how many numbers are drawn from it does not depend on the
            ratio, so that masks of growing ratio on equal generators are nested.

    Returns:
        (N, 1, H, W), or (N, C, H, W) with independent channels, of 0 and 1, dtype and device of
        `images`.

    Raises:
        ValueError: `images` is not (N, C, H, W) of a floating-point dtype, or a patch is larger
            than an image.

    Source:
        arXiv 2307.12463, which leaves unit and distribution open: this is our reading.
    """
    if len(images.shape) != 4 or not images.dtype.is_floating_point:
        raise ValueError(
            "wanted floating-point images (N, C, H, W), got "
            f"{images.dtype} of shape {tuple(images.shape)}"
        )
    n_images, n_channels, height, width = images.shape
    side = spec.patch_size or 1
    if side > min(height, width):
        raise ValueError(
            f"wanted patches no larger than the images of {height} x {width}, got {side} x {side}"
        )
    shape = (
        n_images if spec.scope == "per_sample" else min(n_images, 1),
        n_channels if spec.channels == "independent" else 1,
        math.ceil(height / side),
        math.ceil(width / side),
    )
    is_kept = torch.rand(shape, generator=generator) >= spec.ratio
    pixels = is_kept.repeat_interleave(side, 2).repeat_interleave(side, 3)[..., :height, :width]
    return pixels.expand(n_images, -1, -1, -1).to(device=images.device, dtype=images.dtype)


def mask_images(spec: MaskSpec, images: Tensor, generator: torch.Generator) -> Tensor:
    """Images under a mask drawn for them.

    What is kept is not rescaled. With ratio 0 it is `images` bit for bit. A masked pixel gets no
    gradient.

    Args:
        spec: the mask, and what a masked pixel becomes.
        images: (N, C, H, W), floating point, network-input space.
        generator: a CPU generator; draws the mask, then the noise where that is the fill.

    Returns:
        (N, C, H, W), dtype and device of `images`.

    Raises:
        ValueError: what `draw_mask` refuses.
    """
    return MaskedImages(spec, images, generator)[:]


class MaskedImages:
    """Images under a mask drawn for them, as `mask_images` gives them, made a batch at a time.

    Args:
        spec: the mask, and what a masked pixel becomes.
        images: N, (C, H, W) each, network-input space.
        generator: a CPU generator; draws for all images at once.

    Raises:
        ValueError: what `draw_mask` refuses.
    """

    def __init__(self, spec: MaskSpec, images: NetworkImages, generator: torch.Generator) -> None:
        self._images, self._mask = images, draw_mask(spec, images, generator)
        self.shape, self.device, self.dtype = images.shape, images.device, images.dtype
        self._noise: Tensor | None = None
        if spec.fill == "noise":
            noise = torch.randn(self.shape, generator=generator)
            self._noise = noise.to(device=self.device, dtype=self.dtype)

    def __len__(self) -> int:
        """Give the number of images N."""
        return len(self._images)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        """Give a batch, masked; see `NetworkImages`."""
        images, mask = self._images[index], self._mask[index]
        if self._noise is None:
            return images * mask
        return torch.where(mask.bool(), images, self._noise[index])
