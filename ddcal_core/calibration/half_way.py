"""Half-way images: where a network should be unsure, and how unsure it is.

Midway between two images of different labels a network should give each label one half. The
temperature that makes it do so needs no real label; how far the best temperature lies from it is
for a factor to say (`mask_ratio`).
"""

import torch
from torch import Tensor, nn

from ddcal_core.calibration.temperature import TemperatureFit, fit_temperature
from ddcal_core.seeding import seeded_generator
from ddcal_core.training.train import predict_logits

N_PAIRS = 500
BATCH_SIZE = 64


def half_way_temperature(
    network: nn.Module, images: Tensor, labels: Tensor, *, seed: int
) -> TemperatureFit:
    """The temperature of least NLL midway between images of different labels.

    Each of the 500 random pairs gives one image, their mean in network-input space, and two rows,
    one for each label.

    Args:
        network: maps images to logits (N, K).
        images: float32 (M, C, H, W), network-input space, on the network's device.
        labels: int64 (M,).
        seed: of the pairs.

    Returns:
        The fit. Never "separable": one of each two rows is wrong. With K = 2 it is always
        "worse_than_chance", since even odds are all there is to learn.

    Raises:
        ValueError: fewer than two labels, or what `fit_temperature` refuses.
    """
    if len(labels) == 0 or bool((labels == labels[0]).all()):
        raise ValueError("wanted images of at least two different labels, got fewer")
    one, two = _pairs_of_unlike(labels, seeded_generator(seed, "half way"))
    logits = predict_logits(network, (images[one] + images[two]) / 2, batch_size=BATCH_SIZE)
    # Both rows of a pair are one observation: the second half is the second draw.
    return fit_temperature(logits.repeat(2, 1), torch.cat([labels[one], labels[two]]), n_draws=2)


def _pairs_of_unlike(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Places of pairs of different labels, each pair equally likely."""
    own = labels.cpu()
    chosen = torch.empty(2, 0, dtype=torch.int64)
    # Drawing again where labels are equal leaves all unlike pairs equally likely.
    while chosen.shape[1] < N_PAIRS:
        drawn = torch.randint(len(own), (2, 2 * N_PAIRS), generator=generator)
        chosen = torch.cat([chosen, drawn[:, own[drawn[0]] != own[drawn[1]]]], 1)
    one, two = chosen[:, :N_PAIRS].to(labels.device)
    return one, two
