"""How large a network's logits are, measured on its small set alone.

The temperatures of networks trained on one set lie at nearly the same multiple of it, the set's
factor (`mask_ratio`). There are two yardsticks:

    half way    the temperature at which the network is unsure midway between two images of
                different labels; of three or more classes
    logit rms   root mean square of the logits about the mean of their row, on the set itself; of
                two classes, where even odds are all there is to learn midway between them

Which serves where, and how well, is in docs/mask-ratio.md.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ddcal_core.calibration.temperature import TemperatureFit, fit_temperature
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.seeding import seeded_generator
from ddcal_core.training.train import predict_logits

N_PAIRS = 500
BATCH_SIZE = 64

YardstickKind = Literal["half_way", "logit_rms"]


@dataclass(frozen=True)
class Yardstick:
    """A number that grows with the scale of a network's logits.

    Attributes:
        kind: what was measured.
        value: above 0; None where the network has learned nothing that could be measured.
    """

    kind: YardstickKind
    value: float | None


def measure_yardstick(
    network: nn.Module, images: NetworkImages, labels: Tensor, *, seed: int
) -> Yardstick:
    """Measure a network on the small set it was trained on.

    Args:
        network: maps images to logits (N, K).
        images: float32 (M, C, H, W), network-input space, on the network's device.
        labels: int64 (M,).
        seed: of the pairs of images.

    Returns:
        The half-way temperature, or of two classes the rms of the logits.

    Raises:
        ValueError: fewer than two labels.
    """
    if len(labels) == 0 or bool((labels == labels[0]).all()):
        raise ValueError("wanted images of at least two different labels, got fewer")
    if predict_logits(network, images[:1]).shape[1] == 2:
        return Yardstick("logit_rms", logit_rms(network, images) or None)
    return Yardstick(
        "half_way", half_way_temperature(network, images, labels, seed=seed).temperature
    )


def logit_rms(network: nn.Module, images: NetworkImages) -> float:
    """The root mean square of logits about the mean of their row.

    Args:
        network: maps images to logits (N, K).
        images: float32 (M, C, H, W), M >= 1, network-input space, on the network's device.

    Returns:
        At least 0, in the unit of the logits.
    """
    logits = predict_logits(network, images, batch_size=BATCH_SIZE).double()
    return float((logits - logits.mean(1, keepdim=True)).square().mean().sqrt())


def half_way_temperature(
    network: nn.Module, images: NetworkImages, labels: Tensor, *, seed: int
) -> TemperatureFit:
    """The temperature of least NLL midway between images of different labels.

    Each of the 500 random pairs gives one image, their mean in network-input space, and two rows,
    one for each label.

    Args:
        network: maps images to logits (N, K).
        images: float32 (M, C, H, W), network-input space, on the network's device.
        labels: int64 (M,), at least two different ones.
        seed: of the pairs.

    Returns:
        The fit. Never "separable": one of each two rows is wrong. With K = 2 it is always
        "worse_than_chance", since even odds are all there is to learn.

    Raises:
        ValueError: what `fit_temperature` refuses.

    Source:
        Our own, after Zhang et al., ICLR 2018 (mixup).
    """
    one, two = pairs_of_unlike(labels, seeded_generator(seed, "half way"))
    logits = predict_logits(network, (images[one] + images[two]) / 2, batch_size=BATCH_SIZE)
    # Both rows of a pair are one observation: the second half is the second draw.
    return fit_temperature(logits.repeat(2, 1), torch.cat([labels[one], labels[two]]), n_draws=2)


def pairs_of_unlike(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Places of 500 pairs of different labels, each pair equally likely.

    Args:
        labels: int64 (M,), at least two different ones.
        generator: a CPU generator.

    Returns:
        int64 (500,) each, on the labels' device.
    """
    own = labels.cpu()
    chosen = torch.empty(2, 0, dtype=torch.int64)
    # Drawing again where labels are equal leaves all unlike pairs equally likely.
    while chosen.shape[1] < N_PAIRS:
        drawn = torch.randint(len(own), (2, 2 * N_PAIRS), generator=generator)
        chosen = torch.cat([chosen, drawn[:, own[drawn[0]] != own[drawn[1]]]], 1)
    one, two = chosen[:, :N_PAIRS].to(labels.device)
    return one, two
