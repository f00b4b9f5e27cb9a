"""How large the largest logits are under random masks, and how much they vary.

The paper's second mechanism: under its mask the logits that a temperature is fitted to are smaller
and more varied.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.metrics.spectrum import largest_logits
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.training.masking import MaskedImages
from ddcal_core.training.train import predict_logits


@dataclass(frozen=True)
class MaskedLogits:
    """The largest logit of each image under each mask, in three numbers.

    Attributes:
        mean: over images and masks.
        deviation: over all images under all masks, with n - 1; 0 for one.
        over_masks: deviation, with D - 1, of one image from mask to mask: the root of its mean
            square over images; 0 for one mask.
    """

    mean: float
    deviation: float
    over_masks: float


def largest_logits_under_masks(
    network: nn.Module, images: NetworkImages, mask: MaskSpec, *, seed: int, n_draws: int
) -> Tensor:
    """Ask a network about images under masks drawn anew.

    Args:
        network: maps images to logits (N, K).
        images: float32 (N, C, H, W), network-input space, on the network's device.
        mask: share of pixels to mask, and how.
        seed: of the masks, which are those that `fit_masked_temperature` draws.
        n_draws: D, masks of each image.

    Returns:
        float64 (D, N) on the CPU.
    """
    draws = [
        predict_logits(network, MaskedImages(mask, images, seeded_generator(seed, "mts", draw)))
        for draw in range(n_draws)
    ]
    return torch.stack([largest_logits(logits).cpu() for logits in draws])


def masked_logits(largest: Tensor) -> MaskedLogits:
    """Put size and variety of largest logits into numbers.

    Args:
        largest: (D, N), finite, of D masks and N images, at least one each.

    Raises:
        ValueError: there are none, or one is not finite.

    Source:
        arXiv 2307.12463 shows histograms; the numbers are our reading.
    """
    if largest.numel() == 0 or not bool(largest.isfinite().all()):
        raise ValueError(
            f"wanted finite largest logits (D, N), got values of shape {tuple(largest.shape)}"
        )
    wide = largest.double()
    of_one = wide.var(0).mean() if len(wide) > 1 else wide.new_zeros(())
    return MaskedLogits(
        mean=float(wide.mean()),
        deviation=float(wide.std()) if wide.numel() > 1 else 0.0,
        over_masks=float(of_one.sqrt()),
    )
