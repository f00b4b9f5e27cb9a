"""What each method starts from: learned images before the first step, and batches of real ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.data.labelled import indices_by_class, random_subset
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.distillation.method import PHASE
from ddcal_core.errors import InvalidDataError
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import MethodSpec, SetStart

NUMBERS_IN_CACHE = 2**21
"""Activations of a layer beyond which a CPU is twice as slow, by `benchmarks.distillation`."""


@dataclass(frozen=True, eq=False)
class StartingSet:
    """The distilled set that learning starts from.

    Attributes:
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,), in any order.
        soft_labels: float32 (M, K), rows adding up to 1; None where labels are hard.
    """

    images: Tensor
    labels: Tensor
    soft_labels: Tensor | None = None

    def by_class(self, per_class: int, n_classes: int) -> "StartingSet":
        """Give the same images in the order of their classes.

        Args:
            per_class: images that each class has to have.
            n_classes: K.

        Raises:
            InvalidDataError: a class has more or fewer.
        """
        counts = torch.bincount(self.labels, minlength=n_classes)
        if bool((counts != per_class).any()):
            raise InvalidDataError(
                f"wanted a distilled set of {per_class} images of each class to start from; got "
                f"{int(counts.min())} to {int(counts.max())} (images_per_class says how many are "
                "learned)"
            )
        order = self.labels.argsort(stable=True)
        soft = None if self.soft_labels is None else self.soft_labels[order]
        return StartingSet(self.images[order], self.labels[order], soft)


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
    images: NetworkImages,
    labels: Tensor,
    spec: MethodSpec,
    facts: DatasetFacts,
    seed: int,
    start: StartingSet | None,
) -> Tensor:
    """What learning starts from: random real images of each class, N(0, 1), or a distilled set.

    Args:
        images: N, (C, H, W) each, real, network-input space.
        labels: int64 (N,).
        spec: says which, and how many of each class.
        facts: image shape and number of classes.
        seed: of the draw.
        start: the set that the spec names, if it does.

    Returns:
        (K * images_per_class, C, H, W), a copy, dtype and device of `images`.

    Raises:
        InvalidDataError: with init "real", a class has fewer than images_per_class; a set has
            another number of a class.
    """
    if isinstance(spec.init, SetStart):
        ordered = required(start).by_class(spec.images_per_class, facts.n_classes)
        return ordered.images.to(images.device, images.dtype)
    generator = seeded_generator(seed, PHASE, "init")
    if spec.init == "real":
        return images[random_subset(labels, spec.images_per_class, facts.n_classes, generator)]
    shape = (facts.n_classes * spec.images_per_class, *facts.image_shape)
    return torch.randn(shape, generator=generator).to(images.device, images.dtype)


def required(start: StartingSet | None) -> StartingSet:
    """The set to start from, where the spec names one.

    Raises:
        ValueError: there is none.
    """
    if start is None:
        raise ValueError("wanted the distilled set that init names, got none")
    return start


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
