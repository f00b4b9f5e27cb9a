"""Distribution matching (DM) with masked distillation training (MDT)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.data import indices_by_class, random_subset
from ddcal_core.errors import DivergedError, InvalidDataError
from ddcal_core.masking import mask_images
from ddcal_core.networks import ConvNet, build_network, initialise
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs import DatasetFacts, DmSpec

PHASE = "distill"


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """A few learned images that stand for many.

    Attributes:
        images: float32 (M, C, H, W), network-input space, not clamped.
        labels: int64 (M,), class 0 first, equally many of each.
    """

    images: Tensor
    labels: Tensor


def distill_dm(
    images: Tensor,
    labels: Tensor,
    spec: DmSpec,
    facts: DatasetFacts,
    *,
    seed: int,
    on_progress: ProgressCallback = ignore_progress,
) -> DistilledSet:
    """Learn images whose mean features match those of real images in random networks.

    Each iteration draws a fresh ConvNet and, class by class, a batch of real images, and takes one
    gradient step on the images for

        loss = sum over classes of || mean embed(real) - mean embed(masked synthetic) ||^2,

    with the mask (MDT) drawn anew in each iteration; with ratio 0 it is plain DM bit for
    bit. Differences from the published method: no Siamese augmentation yet, and the defaults of
    `DmSpec` are far smaller. Every draw has a generator of its own purpose and iteration.

    Args:
        images: float32 (N, C, H, W), real, network-input space; the result is on their device.
        labels: int64 (N,), 0 to K - 1.
        spec: images per class, initialisation, mask, iterations, step sizes, network.
        facts: say image shape and number of classes.
        seed: of all that is drawn.
        on_progress: told after each iteration, with its loss as "loss".

    Returns:
        K * images_per_class images.

    Raises:
        InvalidDataError: a class has no real images, or with init "real" fewer than
            images_per_class; or a label is out of range.
        ValueError: the images are too small for the depth.
        DivergedError: a loss is not finite; carries the iteration, from 1.

    Source:
        Zhao and Bilen, WACV 2023 (DM); arXiv 2307.12463 (MDT, whose place in DM is our reading).
    """
    synthetic = _initial_images(images, labels, spec, facts, seed).requires_grad_()
    network = build_network(spec, facts, seeded_generator(seed, PHASE, "network", 0))
    network.to(images.device).requires_grad_(False)
    draw_real = _real_batches(images, labels, spec.batch_real, facts.n_classes)
    optimiser = torch.optim.SGD([synthetic], lr=spec.lr, momentum=spec.momentum)
    for step in range(spec.iterations):
        initialise(network, seeded_generator(seed, PHASE, "network", step))
        masked = mask_images(spec.mask, synthetic, seeded_generator(seed, PHASE, "mask", step))
        real_means = _mean_features(network, draw_real(seeded_generator(seed, PHASE, "real", step)))
        loss = _matching_loss(network, real_means, masked)
        loss_value = float(loss.detach())
        if not math.isfinite(loss_value):
            raise DivergedError(step + 1, loss_value)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        on_progress(
            Progress(phase=PHASE, step=step + 1, steps=spec.iterations, values={"loss": loss_value})
        )
    return DistilledSet(synthetic.detach(), _synthetic_labels(spec, facts).to(images.device))


def _synthetic_labels(spec: DmSpec, facts: DatasetFacts) -> Tensor:
    return torch.arange(facts.n_classes).repeat_interleave(spec.images_per_class)


def _initial_images(
    images: Tensor, labels: Tensor, spec: DmSpec, facts: DatasetFacts, seed: int
) -> Tensor:
    generator = seeded_generator(seed, PHASE, "init")
    if spec.init == "real":
        return images[random_subset(labels, spec.images_per_class, facts.n_classes, generator)]
    shape = (facts.n_classes * spec.images_per_class, *facts.image_shape)
    return torch.randn(shape, generator=generator).to(images.device)


def _real_batches(
    images: Tensor, labels: Tensor, batch_size: int, n_classes: int
) -> Callable[[torch.Generator], list[Tensor]]:
    """A function that draws, for each class, a batch of its images, all where it has fewer."""
    by_class = [images[index] for index in indices_by_class(labels, n_classes)]
    if empty := [label for label, own in enumerate(by_class) if len(own) == 0]:
        raise InvalidDataError(f"every class needs a real image, but class {empty[0]} has none")

    def draw(generator: torch.Generator) -> list[Tensor]:
        orders = [torch.randperm(len(own), generator=generator) for own in by_class]
        return [
            own[order[:batch_size].to(own.device)]
            for own, order in zip(by_class, orders, strict=True)
        ]

    return draw


def _mean_features(network: ConvNet, batches: list[Tensor]) -> Tensor:
    """Mean embedding of each batch, (K, F), without gradients."""
    with torch.no_grad():
        return torch.stack([network.embed(batch).mean(0) for batch in batches])


def _matching_loss(network: ConvNet, real_means: Tensor, masked: Tensor) -> Tensor:
    # One pass for all classes: no layer mixes images, and many tiny passes cost more.
    features = network.embed(masked).view(len(real_means), -1, real_means.shape[1])
    return (real_means - features.mean(1)).square().sum()
