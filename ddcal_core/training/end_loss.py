"""Whether training has come to something: a loss far above that of guessing has blown up."""

import copy
import math

import torch
from torch import Tensor, nn

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.errors import DivergedError

WORST_END = 10.0
"""Loss after training, as a multiple of that of guessing, beyond which training has blown up."""
N_END_IMAGES = 128
"""At most so many images tell whether it has blown up in its last steps."""


def check_end_loss(
    step: int, loss: float, network: nn.Module, images: NetworkImages, labels: Tensor
) -> None:
    """Is a network's training loss, when all is done, one of training that has not blown up?

    Args:
        step: the last, from 1.
        loss: mean per image over the last epoch, in nats; it has not seen what the last step made.
        network: as it was left, maps (N, C, H, W) to logits (N, K).
        images: float32 (N, C, H, W), N >= 1, trained on.
        labels: int64 (N,), or soft, float32 (N, K).

    Raises:
        DivergedError: the loss, or that of the network on some of the images, is more than 10
            times that of guessing, ln K.
    """
    some = slice(None, None, -(-len(images) // N_END_IMAGES))
    # A copy, as batch norm learns from all that passes in training mode.
    trained = copy.deepcopy(network).train()
    with torch.no_grad():
        logits = trained(images[some])
    at_end = float(nn.functional.cross_entropy(logits, labels[some]))
    n_classes = logits.shape[1]
    guessing = math.log(n_classes)
    if max(loss, at_end) > WORST_END * guessing:
        raise DivergedError(
            step,
            max(loss, at_end),
            what="the training loss",
            wanted=f"guessing costs ln {n_classes} = {guessing:.2f}: use a smaller lr",
        )
