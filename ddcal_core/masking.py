"""The one random binary mask: on synthetic images it is MDT, on validation images MTS."""

import torch
from torch import Tensor

from ddcal_core.specs import MaskSpec


def draw_mask(spec: MaskSpec, images: Tensor, generator: torch.Generator) -> Tensor:
    """A mask for each image, to be used as `images * mask` in network-input space.

    Every pixel is 0 with chance `spec.ratio` and 1 otherwise, on its own, shared over channels;
    what is kept is not rescaled. With ratio 0 all are 1, and `images * mask` is `images` bit for
    bit. A pixel under a 0 gets no gradient.

    Args:
        spec: the share of pixels to mask.
        images: (N, C, H, W), floating point; only shape, dtype and device are read.
        generator: a CPU generator; N * H * W numbers are drawn from it in any case, so that masks
            of growing ratio on equal generators are nested.

    Returns:
        (N, 1, H, W) of 0 and 1, dtype and device of `images`.

    Raises:
        ValueError: `images` is not (N, C, H, W) of a floating-point dtype.

    Source:
        arXiv 2307.12463, which leaves unit and distribution open: this is our reading.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            "a mask is drawn for floating-point images (N, C, H, W), got "
            f"{images.dtype} of shape {tuple(images.shape)}"
        )
    n_images, _, height, width = images.shape
    chance = torch.rand((n_images, 1, height, width), generator=generator)
    return (chance >= spec.ratio).to(device=images.device, dtype=images.dtype)
