"""Training images changed at random while a network learns from them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Mixed:
    """A batch of images, each blended with another one of it.

    Attributes:
        images: (N, C, H, W), share * images + (1 - share) * images[partner].
        partner: int64 (N,), a permutation; an image may be its own partner.
        share: of the image itself, in [0, 1], one for the whole batch.
    """

    images: Tensor
    partner: Tensor
    share: float


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
    # PyTorch draws Beta variables from its global generator alone.
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    return Mixed(share * images + (1 - share) * images[partner], partner, share)
