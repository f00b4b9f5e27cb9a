"""Training losses: cross-entropy, and those said to calibrate.

With K classes, label y and p = softmax(z):

    cross_entropy    -log p_y
    label_smoothing  -sum_k t_k log p_k, t = 1 - e + e / K at the label and e / K elsewhere
    focal            -(1 - p_y)^g log p_y
    flsd_53          focal with g = 5 where p_y < 0.2, else 3
    mixup            s * cross_entropy + (1 - s) * cross_entropy of the partner's label

each the mean over a batch. With soft labels t each sum is over the classes k, weighted by t_k, p_y
becoming p_k: cross-entropy -sum_k t_k log p_k, focal -sum_k t_k (1 - p_k)^g log p_k, and so on.
"""

from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddcal_core.specs.regularisers import Mixup
from ddcal_core.specs.training import (
    CrossEntropy,
    Focal,
    FocalSchedule,
    LabelSmoothing,
    TrainLoss,
)
from ddcal_core.training.augmentation import Mixed, mix_images

PlainLoss = CrossEntropy | LabelSmoothing | Focal | FocalSchedule

FLSD_THRESHOLD = 0.2
FLSD_GAMMA_BELOW, FLSD_GAMMA = 5.0, 3.0


def training_loss(
    network: nn.Module,
    batch: Mixed,
    labels: Tensor,
    loss: TrainLoss,
    *,
    generator: torch.Generator,
) -> Tensor:
    """The mean loss of a network on one batch, differentiable.

    Every loss but mixup is linear in the labels, so that blended ones are a weighted sum of two.

    Args:
        network: maps (N, C, H, W) to logits (N, K).
        batch: N >= 1 images, network-input space, which a regulariser may have blended; mixup
            takes none that are.
        labels: of the images before, int64 (N,), or soft, (N, K), rows adding up to 1.
        loss: which one, with its parameters.
        generator: a CPU generator; mixup alone draws from it.

    Returns:
        0-dimensional, in nats.

    Source:
        label smoothing: Szegedy et al., CVPR 2016; focal: Lin et al., ICCV 2017; its schedule
        FLSD-53: Mukhoti et al., NeurIPS 2020 (their sums over a batch are means here); mixup:
        Zhang et al., ICLR 2018.
    """
    if isinstance(loss, Mixup):
        batch = mix_images(batch.images, loss.alpha, generator)
        loss = CrossEntropy(name="cross_entropy")
    logits = network(batch.images)
    own = _loss_of(logits, labels, loss)
    if batch.partner is None:
        return own
    return batch.share * own + (1 - batch.share) * _loss_of(logits, labels[batch.partner], loss)


def _loss_of(logits: Tensor, labels: Tensor, loss: PlainLoss) -> Tensor:
    match loss:
        case CrossEntropy():
            return functional.cross_entropy(logits, labels)
        case LabelSmoothing(smoothing=smoothing):
            return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        case Focal(gamma=gamma):
            log_p, weights = _weighted(logits, labels)
            return _focal(log_p, torch.full_like(log_p, gamma), weights)
        case FocalSchedule():
            log_p, weights = _weighted(logits, labels)
            is_below = log_p.detach().exp() < FLSD_THRESHOLD
            gammas = torch.where(is_below, FLSD_GAMMA_BELOW, FLSD_GAMMA)
            return _focal(log_p, gammas, weights)
        case _:
            assert_never(loss)


def _weighted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities that count and how much: (N, 1) at hard labels, (N, K) with soft ones."""
    log_p = functional.log_softmax(logits, 1)
    if labels.ndim == 2:
        return log_p, labels
    at_label = log_p.gather(1, labels.unsqueeze(1))
    return at_label, torch.ones_like(at_label)


def _focal(log_p: Tensor, gamma: Tensor, weights: Tensor) -> Tensor:
    # 1 - p by expm1: near p = 1 the difference of two numbers near 1 has no digits left.
    return -(weights * (-torch.expm1(log_p)).pow(gamma) * log_p).sum(1).mean()
