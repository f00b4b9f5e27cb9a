"""How good a distilled set is: what a network trained on it says of validation images."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddcal_core.data.network_images import NetworkImages, pick
from ddcal_core.distillation.loop import Selection
from ddcal_core.distillation.method import PHASE, DistilledSet
from ddcal_core.errors import DivergedError
from ddcal_core.metrics import accuracy
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import MethodSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network

MAX_VALIDATION_IMAGES = 2_000
BATCH_SIZE = 32
LR = 0.05  # five times that of training, which takes five times the epochs
IMAGES_SHOWN = 5_000
MIN_EPOCHS, MAX_EPOCHS = 5, 150


def selection_by_validation(
    images: NetworkImages, labels: Tensor, spec: MethodSpec, facts: DatasetFacts, *, seed: int
) -> Selection | None:
    """Choose by the validation accuracy of a ConvNet trained on each set.

    All networks of a run begin from the same parameters and see their images in the same order, so
    that only the sets differ. At most 2,000 of the validation images are asked about.

    Args:
        images: float32 (N, C, H, W), validation images, network-input space.
        labels: int64 (N,).
        spec: how often, for how long, how wide and deep.
        facts: image shape and number of classes.
        seed: of the networks and of the images asked about.

    Returns:
        None without evaluations or without validation images.
    """
    if len(images) == 0 or spec.selection.n_evaluations == 0:
        return None
    order = torch.randperm(len(images), generator=seeded_generator(seed, PHASE, "select images"))
    chosen = order[:MAX_VALIDATION_IMAGES].to(images.device)
    images, labels = pick(images, chosen), labels[chosen]

    def score(distilled: DistilledSet, tick: Callable[[], None]) -> float:
        network = build_network(spec, facts, seeded_generator(seed, PHASE, "select network"))
        network.to(images.device)
        training = TrainSpec(
            width=spec.width,
            depth=spec.depth,
            epochs=epochs_of(spec, len(distilled.images)),
            batch_size=BATCH_SIZE,
        )
        try:
            train_network(
                network,
                distilled.images,
                distilled.labels,
                training.with_learned_lr(distilled.learned_lr or LR),
                generator=seeded_generator(seed, PHASE, "select order"),
                on_progress=lambda _: tick(),
            )
        except DivergedError:
            return 0.0  # a set that nothing can be learned from is the worst there is
        return accuracy(predict_logits(network, images, batch_size=64), labels)

    return Selection(score, spec.selection.n_evaluations, spec.selection.patience)


def epochs_of(spec: MethodSpec, n_images: int) -> int:
    """Epochs of a network that scores a set of so many images; see SelectionSpec."""
    if spec.selection.epochs is not None:
        return spec.selection.epochs
    return min(MAX_EPOCHS, max(MIN_EPOCHS, IMAGES_SHOWN // n_images))
