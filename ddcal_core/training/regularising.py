"""Regularisers beside the mask of MDT, laid on a batch or on classes matched one by one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.specs.masks import MaskSpec
from ddcal_core.specs.regularisers import AnyRegulariser, Cutmix, Cutout, InputDropout, Mixup
from ddcal_core.training.augmentation import Mixed, cut_out, draw_share
from ddcal_core.training.masking import mask_images


@dataclass(frozen=True, eq=False)
class _Blend:
    """How an image is blended with its partner.

    Attributes:
        share: of the image itself, in [0, 1].
        inside: bool (H, W), where the partner's pixels stand; None: all pixels are weighted sums.
    """

    share: float
    inside: Tensor | None = None

    def of(self, images: Tensor, partners: Tensor) -> Tensor:
        if self.inside is None:
            return self.share * images + (1 - self.share) * partners
        return torch.where(self.inside.to(images.device), partners, images)


def regularised(spec: AnyRegulariser | None, images: Tensor, generator: torch.Generator) -> Mixed:
    """A batch as a regulariser changes it; differentiable.

    Args:
        spec: which one; None leaves the images as they are, and draws nothing.
        images: (N, C, H, W), floating point, network-input space, N >= 1.
        generator: a CPU generator, of the regulariser's own.

    Returns:
        The images, and for mixup and cutmix whose labels they share.

    Source:
        mixup: Zhang et al., ICLR 2018; cutmix: Yun et al., ICCV 2019; cutout: DeVries and Taylor,
        arXiv 1708.04552; dropout of the input: Srivastava et al., JMLR 2014. The first two draw
        one share a batch, as their codes do.
    """
    match spec:
        case None:
            return Mixed(images)
        case Cutout() | InputDropout():
            return Mixed(_changed_alone(spec, images, generator))
        case Mixup() | Cutmix():
            blend = _draw_blend(spec, images, generator)
            partner = torch.randperm(len(images), generator=generator).to(images.device)
            return Mixed(blend.of(images, images[partner]), partner, blend.share)
        case _:
            assert_never(spec)


def mixed_labels(mixed: Mixed, labels: Tensor, n_classes: int) -> Tensor:
    """The labels of a batch that may have been blended.

    Args:
        mixed: the batch.
        labels: of its images before, int64 (N,) or soft, (N, K).
        n_classes: K.

    Returns:
        `labels` where nothing was blended; else soft, (N, K), rows adding up to 1, in the images'
        dtype.
    """
    if mixed.partner is None:
        return labels
    soft = labels if labels.ndim == 2 else functional.one_hot(labels, n_classes)
    soft = soft.to(mixed.images.dtype)
    return mixed.share * soft + (1 - mixed.share) * soft[mixed.partner]


@dataclass(frozen=True, eq=False)
class Matched:
    """What is matched with what, class by class.

    Attributes:
        images: (M, C, H, W), synthetic, those of class 0 first.
        real: a batch (n, C, H, W) of each class.
        targets: of each class what its images are, int64 (K,), or soft, (K, K), rows adding up
            to 1.
    """

    images: Tensor
    real: list[Tensor]
    targets: Tensor


def regularised_classes(
    spec: AnyRegulariser | None,
    images: Tensor,
    real: list[Tensor],
    generator: torch.Generator,
) -> Matched:
    """Synthetic images as a regulariser changes them, and real ones such that they still match.

    Cutout and input dropout change the synthetic images alone, as the mask does. Mixup and cutmix
    blend each class with another, drawn for the step, the real images with the same share and in
    the same rectangle (Siamese, as DSA's augmentation; our reading: the papers train networks).

    Args:
        spec: which one; None leaves all as it is, and draws nothing.
        images: (M, C, H, W), synthetic, equally many of each class, those of class 0 first.
        real: a batch (n, C, H, W) of each of K classes, n >= 1.
        generator: a CPU generator, of the regulariser's own.

    Returns:
        Both, differentiable in `images`, which come back themselves with None.
    """
    classes = torch.arange(len(real), device=images.device)
    match spec:
        case None:
            return Matched(images, real, classes)
        case Cutout() | InputDropout():
            return Matched(_changed_alone(spec, images, generator), real, classes)
        case Mixup() | Cutmix():
            blend = _draw_blend(spec, images, generator)
            partners = torch.randperm(len(real), generator=generator)
            own = torch.split(images, len(images) // len(real))
            targets = functional.one_hot(classes).to(images.dtype)
            return Matched(
                torch.cat(_blended_classes(blend, own, partners.tolist())),
                _blended_classes(blend, real, partners.tolist()),
                blend.share * targets + (1 - blend.share) * targets[partners.to(images.device)],
            )
        case _:
            assert_never(spec)


def _blended_classes(
    blend: _Blend, batches: Sequence[Tensor], partners: Sequence[int]
) -> list[Tensor]:
    # A class may have fewer images than its partner, or more.
    return [
        blend.of(batch, batches[other][torch.arange(len(batch)) % len(batches[other])])
        for batch, other in zip(batches, partners, strict=True)
    ]


def _changed_alone(
    spec: Cutout | InputDropout, images: Tensor, generator: torch.Generator
) -> Tensor:
    if isinstance(spec, Cutout):
        numbers = torch.rand((len(images), 2), generator=generator)
        return cut_out(images, numbers.to(images.device), spec.side)
    mask = MaskSpec(ratio=spec.rate, channels="independent")
    return mask_images(mask, images, generator) / (1 - spec.rate)


def _draw_blend(spec: Mixup | Cutmix, images: Tensor, generator: torch.Generator) -> _Blend:
    share = draw_share(spec.alpha, generator)
    if isinstance(spec, Mixup):
        return _Blend(share)
    sides, inside = images.shape[2:], torch.ones(())
    for axis, side in enumerate(sides):
        half = int(side * math.sqrt(1 - share)) // 2
        centre = int(torch.randint(side, (), generator=generator))
        at = torch.arange(side)
        is_inside = (at >= centre - half) & (at < centre + half)
        inside = inside * is_inside.view(-1, *[1] * (1 - axis))
    # What is left of the rectangle in the image, and not what was drawn, is what labels follow.
    return _Blend(1 - float(inside.mean()), inside.bool())
