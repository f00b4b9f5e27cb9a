"""What each method starts from: learned images before the first step, and batches of real ones."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddcal_core.data.labelled import indices_by_class, random_subset
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.distillation.method import PHASE
from ddcal_core.errors import InvalidDataError
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import MethodSpec

NUMBERS_IN_CACHE = 2**21
"""Activations of a layer beyond which a CPU is twice as slow, by `benchmarks.distillation`."""


def synthetic_labels(spec: MethodSpec, facts: DatasetFacts) -> Tensor:
    """Labels of the learned images.

    Args:
        spec: says how many of each class.
        facts: say how many classes K.

    Returns:
        int64 of shape (K * images_per_class,), those of class 0 first, on the CPU.
    """
    return torch.arange(facts.n_classes).repeat_interleave(spec.images_per_class)


def initial_images(
    images: NetworkImages, labels: Tensor, spec: MethodSpec, facts: DatasetFacts, seed: int
) -> Tensor:
    """What learning starts from: random real images of each class, or N(0, 1).

    Args:
        images: N, (C, H, W) each, real, network-input space.
        labels: int64 (N,).
        spec: says which, and how many of each class.
        facts: image shape and number of classes.
        seed: of the draw.

    Returns:
        (K * images_per_class, C, H, W), a copy, dtype and device of `images`.

    Raises:
        InvalidDataError: with init "real", a class has fewer than images_per_class.
    """
    generator = seeded_generator(seed, PHASE, "init")
    if spec.init == "real":
        return images[random_subset(labels, spec.images_per_class, facts.n_classes, generator)]
    shape = (facts.n_classes * spec.images_per_class, *facts.image_shape)
    return torch.randn(shape, generator=generator).to(images.device, images.dtype)


def real_batches(
    images: NetworkImages, labels: Tensor, batch_size: int, n_classes: int
) -> Callable[[torch.Generator], list[Tensor]]:
    """A function that draws, for each class, a batch of its images, all where it has fewer.

    Args:
        images: N, (C, H, W) each.
        labels: int64 (N,), 0 to `n_classes` - 1.
        batch_size: of each class.
        n_classes: K.

    Returns:
        From a CPU generator to K tensors (at most batch_size, C, H, W), drawn without repetition.

    Raises:
        InvalidDataError: a class has no images, or a label is out of range.
    """
    by_class = indices_by_class(labels, n_classes)
    if empty := [label for label, own in enumerate(by_class) if len(own) == 0]:
        raise InvalidDataError(f"every class needs a real image, but class {empty[0]} has none")

    def draw(generator: torch.Generator) -> list[Tensor]:
        orders = [torch.randperm(len(own), generator=generator) for own in by_class]
        return [
            images[own[order[:batch_size].to(own.device)]]
            for own, order in zip(by_class, orders, strict=True)
        ]

    return draw


def chunks(batch: Tensor, width: int) -> Sequence[Tensor]:
    """A batch in parts small enough for a processor's cache; on a GPU whole.

    Args:
        batch: (N, C, H, W), N >= 1.
        width: channels of the widest layer that keeps the size of the images.

    Returns:
        Views of the batch, in order, at least 4 images each but for the last.
    """
    if batch.device.type != "cpu":
        return (batch,)
    n_images = NUMBERS_IN_CACHE // (width * batch.shape[2] * batch.shape[3])
    return torch.split(batch, max(4, n_images))
