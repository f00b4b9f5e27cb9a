"""Random augmentation of training images: mixup and DSA.

Siamese augmentation (DSA) draws one of six changes for a whole batch, all differentiable, on
network-input space, where 0 is the mean colour. u stands for uniform numbers in [0, 1):

    color    brightness x + (u - 1/2); then saturation 2u (x - m) + m, m the mean over a pixel's
             channels; then contrast (u + 1/2) (x - m) + m, m the mean over the image
    crop     moved by a whole number of pixels, -s to s along each axis, s = 1/8 of the side
             rounded; 0 comes in
    cutout   a square of half the side (rounded) becomes 0; it may reach over the edge
    flip     left and right, for one image in two
    scale    by 1/1.2 to 1.2 along each axis, bilinear; 0 comes in
    rotate   by -15 to 15 degrees, bilinear; 0 comes in

Source: Zhao and Bilen, ICML 2021 (DSA), in the numbers of its published code.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.specs.augmentations import AugmentationName

CROP_SHARE, CUTOUT_SHARE = 0.125, 0.5
SCALE_RATIO, ROTATE_DEGREES = 1.2, 15.0
N_NUMBERS = 3  # as many as the neediest change takes


@dataclass(frozen=True, eq=False)
class Mixed:
    """A batch of images, each blended with another one of it.

    Attributes:
        images: (N, C, H, W), share * images + (1 - share) * images[partner], of pixels or of area.
        partner: int64 (N,), a permutation; an image may be its own partner. None: nothing is
            blended.
        share: of the image itself, in [0, 1], one for the whole batch.
    """

    images: Tensor
    partner: Tensor | None = None
    share: float = 1.0


def mix_images(images: Tensor, alpha: float, generator: torch.Generator) -> Mixed:
    """Blend each image of a batch with another (mixup); the labels' part is the loss's.

    Args:
        images: (N, C, H, W), floating point, N >= 1.
        alpha: the share is drawn from Beta(alpha, alpha); small values leave most batches nearly
            as they are.
        generator: a CPU generator.

    Source:
        Zhang et al., ICLR 2018, whose code draws one share a batch too.
    """
    share = draw_share(alpha, generator)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    return Mixed(share * images + (1 - share) * images[partner], partner, share)


def draw_share(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha), in [0, 1].

    Args:
        alpha: above 0.
        generator: a CPU generator.
    """
    # PyTorch draws Beta variables from its global generator alone.
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


@dataclass(frozen=True, eq=False)
class DrawnAugmentation:
    """One change with its numbers, to be laid on as many batches as wanted.

    Attributes:
        name: of the change.
        numbers: float32 (1, 3) for all images alike, or (N, 3), in [0, 1): the u of the table.
    """

    name: AugmentationName
    numbers: Tensor


def draw_augmentation(
    names: tuple[AugmentationName, ...], generator: torch.Generator, *, n_images: int | None = None
) -> DrawnAugmentation | None:
    """One of the changes, each as likely, and its numbers.

    Args:
        names: to draw from; none gives None, and draws nothing.
        generator: a CPU generator.
        n_images: numbers for each of so many images, for training; None: the same for all, to
            change real and synthetic images alike (Siamese).

    Returns:
        The change, its numbers on the CPU; None without names.
    """
    if not names:
        return None
    chosen = int(torch.randint(len(names), (), generator=generator))
    numbers = torch.rand((n_images or 1, N_NUMBERS), generator=generator)
    return DrawnAugmentation(names[chosen], numbers)


def augment(
    images: Tensor, drawn: DrawnAugmentation | None, *, align_corners: bool = False
) -> Tensor:
    """Images under a drawn change; differentiable.

    Args:
        images: (N, C, H, W), floating point, network-input space.
        drawn: with numbers for all or for each of N; None leaves `images` as they are.
        align_corners: whether scale and rotate take -1 and 1 for the centres of the outer pixels
            (the published MTT) or for their outer edges (DC, DSA).

    Returns:
        (N, C, H, W), dtype and device of `images`.
    """
    if drawn is None:
        return images
    numbers = drawn.numbers.to(images)
    match drawn.name:
        case "color":
            return _colored(images, numbers)
        case "crop":
            return _cropped(images, numbers)
        case "cutout":
            return cut_out(images, numbers, CUTOUT_SHARE)
        case "flip":
            return torch.where(numbers[:, 0].view(-1, 1, 1, 1) < 0.5, images.flip(3), images)
        case "scale":
            factors = numbers[:, :2] * (SCALE_RATIO - 1 / SCALE_RATIO) + 1 / SCALE_RATIO
            zero = torch.zeros_like(factors[:, 0])
            rows = (factors[:, 0], zero, zero), (zero, factors[:, 1], zero)
            return _transformed(images, rows, align_corners)
        case "rotate":
            angle = (2 * numbers[:, 0] - 1) * math.radians(ROTATE_DEGREES)
            zero = torch.zeros_like(angle)
            rows = (angle.cos(), -angle.sin(), zero), (angle.sin(), angle.cos(), zero)
            return _transformed(images, rows, align_corners)


def augment_each(
    images: Tensor,
    names: tuple[AugmentationName, ...],
    generator: torch.Generator,
    *,
    align_corners: bool = False,
) -> Tensor:
    """Images under one change drawn for all, each with its own numbers: for training networks.

    Args:
        images: (N, C, H, W), floating point, network-input space.
        names: the changes to draw from; none leaves `images` as they are.
        generator: a CPU generator.
        align_corners: see `augment`.

    Returns:
        (N, C, H, W), dtype and device of `images`.
    """
    drawn = draw_augmentation(names, generator, n_images=len(images))
    return augment(images, drawn, align_corners=align_corners)


def _colored(images: Tensor, numbers: Tensor) -> Tensor:
    brightness, saturation, contrast = numbers.view(-1, N_NUMBERS, 1, 1, 1).unbind(1)
    images = images + (brightness - 0.5)
    mean = images.mean(1, keepdim=True)
    images = (images - mean) * (2 * saturation) + mean
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _cropped(images: Tensor, numbers: Tensor) -> Tensor:
    height, width = images.shape[2:]
    most = [int(CROP_SHARE * side + 0.5) for side in (height, width)]
    padded = functional.pad(images, (most[1], most[1], most[0], most[0]))
    top, left = (
        _whole(numbers[:, axis], 2 * limit + 1).view(-1, 1) for axis, limit in enumerate(most)
    )
    if len(numbers) == 1:  # slices: their gradient needs no scattering
        padded = padded.narrow(2, int(top), height)
        return padded.narrow(3, int(left), width)
    rows = (top + torch.arange(height, device=images.device)).view(-1, 1, height, 1)
    columns = (left + torch.arange(width, device=images.device)).view(-1, 1, 1, width)
    shape = (*images.shape[:2], height, padded.shape[3])
    return padded.gather(2, rows.expand(shape)).gather(3, columns.expand(images.shape))


def cut_out(images: Tensor, numbers: Tensor, share: float) -> Tensor:
    """Images with a square of zeros each.

    Args:
        images: (N, C, H, W), floating point.
        numbers: (1, 2) or more for all images alike, or a row for each of N, in [0, 1): where the
            centre lies along each axis.
        share: side of the square relative to the image's, in (0, 1); at least one pixel.

    Returns:
        (N, C, H, W), dtype and device of `images`.
    """
    inside = None
    for axis in (0, 1):
        side = images.shape[2 + axis]
        hole = max(1, int(share * side + 0.5))
        # As published: a hole of even side may be centred on the far edge as well as the near one.
        centre = _whole(numbers[:, axis], side + (1 - hole % 2)).view(-1, 1)
        start = centre - hole // 2
        at = torch.arange(side, device=images.device)
        on_axis = (at >= start) & (at < start + hole)
        on_axis = on_axis.unsqueeze(2 - axis)
        inside = on_axis if inside is None else inside & on_axis
    assert inside is not None
    return images.masked_fill(inside.unsqueeze(1), 0)


def _whole(numbers: Tensor, n_values: int) -> Tensor:
    """Uniform numbers in [0, 1) to whole ones from 0 to n_values - 1."""
    return (numbers * n_values).long().clamp(max=n_values - 1)


def _transformed(
    images: Tensor, rows: tuple[tuple[Tensor, ...], ...], align_corners: bool
) -> Tensor:
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
    theta = theta.expand(len(images), -1, -1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=align_corners)
    return functional.grid_sample(images, grid, align_corners=align_corners)
