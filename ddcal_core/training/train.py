"""Train one network on images that fit in memory, and predict with it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ddcal_core.data.network_images import NetworkImages, by_batch
from ddcal_core.errors import DivergedError
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.augmentation import augment_each
from ddcal_core.training.end_loss import check_end_loss
from ddcal_core.training.losses import training_loss
from ddcal_core.training.regularising import regularised
from ddcal_core.training.steps import Steps


def train_network(
    network: nn.Module,
    images: NetworkImages,
    labels: Tensor,
    spec: TrainSpec,
    *,
    generator: torch.Generator,
    on_progress: ProgressCallback = ignore_progress,
    phase: str = "train",
) -> None:
    """Train in place, by SGD with momentum or by AdamW.

    See `Steps` for how the learning rate changes. Each epoch takes the images in a fresh order; the
    last batch may be smaller. Siamese augmentation, where asked for, changes the images of a batch
    one by one; then comes the regulariser.

    Args:
        network: maps (N, C, H, W) to logits (N, K); left in the mode it came in.
        images: float32 (N, C, H, W), network-input space, N >= 1, on the network's device.
        labels: int64 (N,), or soft, float32 (N, K), rows adding up to 1.
        spec: the loss, epochs, batch size, optimiser, learning rate (0.01 where it names none, of
            AdamW 0.001), momentum, weight decay, augmentation, regulariser.
        generator: a fresh CPU generator for the order of the images, the augmentation and what the
            loss draws. The regulariser's is another one, of the same seed, so that with and
            without it the order is the same.
        on_progress: told after each epoch, with its mean loss per image as "loss".
        phase: the name it is told.

    Raises:
        ValueError: no images, or another number of labels.
        DivergedError: an epoch's loss, or a parameter at the end, is not finite, or the loss of
            the last epoch or after it is 10 times that of guessing; carries the epoch, from 1.
    """
    if len(images) == 0 or len(labels) != len(images):
        raise ValueError(
            f"wanted at least one image and one label per image, got {len(images)} images and "
            f"{len(labels)} labels"
        )
    steps = Steps(network, spec, n_steps=spec.epochs * -(-len(images) // spec.batch_size))

    own_generator = seeded_generator(generator.initial_seed(), "regulariser")

    def loss_of(batch: Tensor) -> Tensor:
        seen = augment_each(images[batch], spec.augmentation, generator)
        mixed = regularised(spec.regulariser, seen, own_generator)
        return training_loss(network, mixed, labels[batch], spec.loss, generator=generator)

    loss = math.nan
    with _in_mode(network, training=True):
        for epoch in range(spec.epochs):
            order = torch.randperm(len(images), generator=generator).to(images.device)
            batches = torch.split(order, spec.batch_size)
            loss = _train_epoch(images, batches, steps, loss_of)
            if not math.isfinite(loss):
                raise DivergedError(epoch + 1, loss)
            on_progress(
                Progress(phase=phase, step=epoch + 1, steps=spec.epochs, values={"loss": loss})
            )
    # The last step's loss is never computed, but its parameters and buffers are used.
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        raise DivergedError(spec.epochs, math.nan)
    check_end_loss(spec.epochs, loss, network, images, labels)


def _train_epoch(
    images: NetworkImages,
    batches: tuple[Tensor, ...],
    steps: Steps,
    loss_of: Callable[[Tensor], Tensor],
) -> float:
    total = torch.zeros((), device=images.device)
    for batch in batches:
        loss = loss_of(batch)
        steps.take(loss)
        total += loss.detach() * len(batch)
    # The one read an epoch: on a GPU each makes the host wait.
    return float(total) / len(images)


def predict_logits(network: nn.Module, images: NetworkImages, *, batch_size: int = 128) -> Tensor:
    """Logits of images, in evaluation mode and without gradients.

    Args:
        network: maps (N, C, H, W) to logits (N, K); left in the mode it came in.
        images: float32 (N, C, H, W), network-input space; N = 0 gives (0, K).
        batch_size: images at once; changes the logits by rounding only. On a CPU 128 take a third
            of the time of 512, as they stay in its cache.

    Returns:
        float32 (N, K), on the network's device.
    """
    with _in_mode(network, training=False), torch.no_grad():
        return by_batch(network, images, batch_size=batch_size).float()


@contextmanager
def _in_mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    # Module by module, as parts of a network may stand in different modes.
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        for module, was_training in modes.items():
            module.training = was_training
