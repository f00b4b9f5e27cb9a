"""What images left out in turn tell of the factor between a yardstick and the best temperature.

Networks of parts of the small set are asked about the images they were not trained on; the factor
that makes their answers likeliest is taken for the whole set's (`mask_ratio`).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ddcal_core.calibration.yardstick import YardstickKind
from ddcal_core.data.labelled import indices_by_class
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.metrics import negative_log_likelihood
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import train_network

# Mean of log(T with labels / yardstick) over the choosing cases of docs/mask-ratio.md and, as they
# are of few data sets, more than their deviation.
PRIORS: Mapping[YardstickKind, tuple[float, float]] = {
    "half_way": (math.log(0.54), 0.35),
    "logit_rms": (math.log(0.55), 1.0),
}
"""Centre and width of the normal prior on the log of the factor."""
_LOG_REACH = 4.0
_COARSE_STEPS = 40  # of 0.1 each way, well inside the width of the prior
_LOG_TOLERANCE = 1e-6
_GOLDEN = (math.sqrt(5) - 1) / 2


def fold_of_each(labels: Tensor, n_folds: int, seed: int) -> Tensor:
    """A fold for each image, every class spread evenly over them.

    Args:
        labels: int64 (M,), M >= 1, from 0 on.
        n_folds: how many; a class of at least so many images has one in each.
        seed: which images share a fold; other classes' sizes do not matter for it.

    Returns:
        int64 (M,), 0 to `n_folds` - 1, on the labels' device.
    """
    fold_of = torch.zeros_like(labels)
    for label, index in enumerate(indices_by_class(labels, int(labels.max()) + 1)):
        order = torch.randperm(len(index), generator=seeded_generator(seed, "folds", label))
        fold_of[index[order.to(index.device)]] = (
            torch.arange(len(index), device=labels.device) % n_folds
        )
    return fold_of


def train_fold(
    images: NetworkImages,
    labels: Tensor,
    spec: TrainSpec,
    facts: DatasetFacts,
    place: tuple[int, int],
) -> nn.Module:
    """Train the network of a fold on the images that are not in it.

    Args:
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,).
        spec: how the network to be calibrated was trained.
        facts: image shape and number of classes.
        place: the seed and the fold, which name all that is drawn.

    Returns:
        The network, on the images' device.

    Raises:
        DivergedError: a loss or a parameter is not finite.
    """
    seed, fold = place
    network = build_network(spec, facts, seeded_generator(seed, "fold", fold, "network"))
    network.to(images.device)
    order = seeded_generator(seed, "fold", fold, "order")
    train_network(network, images, labels, spec, generator=order)
    return network


def likeliest_factor(logits: Tensor, labels: Tensor, kind: YardstickKind) -> float:
    """The temperature of largest posterior under the prior on log factor.

    Minimises  sum_i NLL_i(t) + (log t - centre)^2 / (2 width^2)  over log t within 4 of the centre
    of its prior, to 1e-6; there is always one, also where all or none are right.

    Args:
        logits: (N, K), finite, over the yardstick.
        labels: int64 (N,), 0 to K - 1.
        kind: of the yardstick, whose prior it is.

    Returns:
        t > 0.

    Raises:
        ValueError: what `negative_log_likelihood` refuses.
    """
    centre, width = PRIORS[kind]

    def cost(log_t: float) -> float:
        nll = negative_log_likelihood(logits, labels, math.exp(log_t))
        return len(labels) * nll + ((log_t - centre) / width) ** 2 / 2

    # The NLL is convex in 1 / t, not in log t: look everywhere first.
    steps = range(-_COARSE_STEPS, _COARSE_STEPS + 1)
    best = min((centre + step * _LOG_REACH / _COARSE_STEPS for step in steps), key=cost)
    low, high = best - _LOG_REACH / _COARSE_STEPS, best + _LOG_REACH / _COARSE_STEPS
    while high - low > _LOG_TOLERANCE:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    return math.exp((low + high) / 2)
