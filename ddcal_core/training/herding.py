"""Herding: a few real images whose mean feature follows the mean of their class."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddcal_core.data.labelled import indices_by_class
from ddcal_core.data.network_images import NetworkImages, by_batch, pick
from ddcal_core.errors import InvalidDataError
from ddcal_core.networks import build_network
from ddcal_core.progress import ProgressCallback, ignore_progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import ConvNetFeatures, HerdingFeatures, PixelFeatures, TrainSpec
from ddcal_core.training.train import train_network

PHASE = "herd"
EMBED_BATCH_SIZE = 128
_ROWS, _COLUMNS = 128, 512  # made float64 at once

Features = Callable[[Tensor], Tensor]
"""From int64 (n,), places of images, to their features, float32 (n, F)."""


def herd(features: Tensor, n: int) -> Tensor:
    """Choose rows greedily so that the mean of those chosen stays close to the mean of all.

    The k-th choice is the row x not chosen yet with the smallest

        || mean of all - (sum of the k - 1 chosen + x) / k ||,

    the lowest index among equals; the first is the one closest to the mean. Computed in float64.
    A choice of fewer is the beginning of a choice of more.

    Args:
        features: (N, F), floating point, N >= n.
        n: how many.

    Returns:
        int64 (n,), in the order of choice, on the CPU.

    Raises:
        InvalidDataError: fewer rows than wanted, or a feature is not finite.

    Source:
        Welling, ICML 2009; in this greedy form Rebuffi et al., CVPR 2017 (iCaRL), algorithm 4
        (theirs scales each feature to length 1 first).
    """
    if len(features) < n:
        raise InvalidDataError(f"wanted at least {n} rows to choose from, got {len(features)}")
    if not bool(_of_rows(features, lambda rows: rows.isfinite().all(1)).all()):
        raise InvalidDataError("wanted finite features, got NaN or infinities")
    # float64: the distances that decide are small differences of these squares. A part at a time,
    # as float64 of all takes twice their memory, and no less time.
    columns = torch.split(features, _COLUMNS, dim=1)
    mean = torch.cat([part.double().mean(0) for part in columns])
    squares = _of_rows(features, lambda rows: rows.double().square().sum(1))
    total = torch.zeros_like(mean)
    is_free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen: list[int] = []
    for k in range(1, n + 1):
        # ||k mean - total - x||^2 without what is the same for every x.
        distances = squares - 2 * _products(features, k * mean - total)
        best = int(distances.where(is_free, torch.inf).argmin())
        chosen.append(best)
        is_free[best] = False
        total += features[best]
    return torch.tensor(chosen, dtype=torch.int64)


def _of_rows(features: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
    return by_batch(answer, features, batch_size=_ROWS)


def _products(features: Tensor, aim: Tensor) -> Tensor:
    """Of each row (N, F) with the aim (F,), in float64: (N,)."""
    return _of_rows(features, lambda rows: rows.double() @ aim)


def herded_subset(
    features: Features, labels: Tensor, images_per_class: int, n_classes: int
) -> Tensor:
    """Indices of the images that herding chooses, equally many of each class.

    Args:
        features: of the images; asked for class by class.
        labels: int64 (N,), 0 to `n_classes` - 1.
        images_per_class: how many of each class.
        n_classes: number of classes K.

    Returns:
        int64 (K * images_per_class,), on the CPU: those of class 0 in the order of choice, then of
        class 1, and so on.

    Raises:
        InvalidDataError: a class has too few images, there are no labels, one is out of range, or
            a feature is not finite.
    """
    chosen: list[Tensor] = []
    for label, index in enumerate(indices_by_class(labels, n_classes)):
        if len(index) < images_per_class:
            raise InvalidDataError(
                f"wanted at least {images_per_class} images of each class, but class {label} has "
                f"{len(index)}"
            )
        chosen.append(index.cpu()[herd(features(index), images_per_class)])
    return torch.cat(chosen)


def herding_features(
    images: NetworkImages,
    labels: Tensor,
    spec: HerdingFeatures,
    facts: DatasetFacts,
    *,
    seed: int,
    on_progress: ProgressCallback = ignore_progress,
) -> Features:
    """What herding compares: pixels, or what the linear layer of a ConvNet sees.

    Args:
        images: float32 (N, C, H, W), network-input space.
        labels: int64 (N,), to train the ConvNet.
        spec: which features.
        facts: image shape and number of classes.
        seed: of the ConvNet and of the images that it learns from.
        on_progress: told after each epoch of the ConvNet.

    Returns:
        From places among the images to their features, on the images' device.

    Raises:
        ValueError: the images are too small for the ConvNet.
        DivergedError: training it failed.
    """
    if isinstance(spec, PixelFeatures):
        return lambda index: images[index].flatten(1)
    network = build_network(spec, facts, seeded_generator(seed, PHASE, "network"))
    network.to(images.device)
    if spec.epochs > 0:
        order = torch.randperm(len(images), generator=seeded_generator(seed, PHASE, "images"))
        learned_from = order[: spec.n_images].to(images.device)
        train_network(
            network,
            pick(images, learned_from),
            labels[learned_from],
            _training_of(spec),
            generator=seeded_generator(seed, PHASE, "order"),
            on_progress=on_progress,
            phase=PHASE,
        )
    with torch.no_grad():
        features = by_batch(network.embed, images, batch_size=EMBED_BATCH_SIZE)
    return features.__getitem__


def _training_of(spec: ConvNetFeatures) -> TrainSpec:
    return TrainSpec(width=spec.width, depth=spec.depth, epochs=spec.epochs)
