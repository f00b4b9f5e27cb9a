"""Gradient matching (DC) and its Siamese augmentation (DSA), with masked distillation training."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.data.network_images import NetworkImages
from ddcal_core.distillation.images import (
    StartingSet,
    chunks,
    initial_images,
    real_batches,
    synthetic_labels,
)
from ddcal_core.distillation.method import PHASE, DistilledSet, State
from ddcal_core.distillation.sgd import descend, with_momentum
from ddcal_core.networks import ConvNet, build_network, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.matching import GradientMatchingSpec
from ddcal_core.training.augmentation import (
    DrawnAugmentation,
    augment,
    augment_each,
    draw_augmentation,
)
from ddcal_core.training.masking import mask_images
from ddcal_core.training.regularising import mixed_labels, regularised, regularised_classes

EPSILON = 1e-6


class GradientMatching:
    """Learn images whose gradients in a network match those of real images while it is trained.

    A step of the loop is one network, from its first parameters on. `outer_loops` times it does

        matching:  loss = sum over classes of D(gradient of CE(masked synthetic), of CE(real)),
                   one gradient step on the images;
        training:  `inner_epochs` epochs of the network on the set (not after the last matching),

    with D of `gradient_distance`. The mask (MDT) is drawn anew for each step on the images and
    held through the training that follows, so that network and images see one masked set; with
    `mask_inner` off the training sees the set itself. A regulariser follows the mask, and is drawn
    anew for each batch of the training. A masked pixel gets no gradient. With ratio
    0 it is plain DC or DSA bit for bit. For DSA one change is drawn for each class and matching,
    and laid on its real and, after the mask, its synthetic images; in the training each image has
    its own numbers.

    Classes are matched one after another: the sum of their losses has the same gradient, and only
    one graph is in memory at a time. The ConvNet normalises each image by itself. That matters: a
    network with batch normalisation would need statistics of real images, frozen while matching.

    Args:
        images: N, (C, H, W) each, real, network-input space; all is computed on their device and
            in their dtype.
        labels: int64 (N,), 0 to K - 1.
        spec: of DC or DSA.
        facts: image shape and number of classes.
        seed: of all random draws; each draw has a generator of its own purpose, network and step.
        start: the distilled set that init names, if it does.

    Raises:
        InvalidDataError: a class has no real images, or with init "real" fewer than
            images_per_class; a label is out of range; or the set to start from has another number
            of images of a class.
        ValueError: the images are too small for the depth.

    Source:
        Zhao, Mopuri and Bilen, ICLR 2021 (DC); Zhao and Bilen, ICML 2021 (DSA); arXiv 2307.12463
        (MDT, whose place in DC is our reading).
    """

    def __init__(
        self,
        images: NetworkImages,
        labels: Tensor,
        spec: GradientMatchingSpec,
        facts: DatasetFacts,
        *,
        seed: int,
        start: StartingSet | None = None,
    ) -> None:
        self._spec = spec
        self._seed = seed
        self._start = initial_images(images, labels, spec, facts, seed, start)
        self._labels = synthetic_labels(spec, facts).to(images.device)
        self._n_classes = facts.n_classes
        self._draw_real = real_batches(images, labels, spec.batch_real, facts.n_classes)
        network = build_network(spec, facts, seeded_generator(seed, PHASE, "network", 0))
        self._network: ConvNet = network.to(images.device, images.dtype)
        # Biases, and scales and shifts of norms, count for nothing in the published distance.
        self._matched = [p for p in self._network.parameters() if p.ndim >= 2]

    @property
    def stuck_loss(self) -> float:
        """Each row of a matched weight counts 1 in `gradient_distance`, for each class."""
        return float(sum(len(weight) for weight in self._matched) * (self._n_classes))

    def initial_state(self) -> State:
        """The images before the first step, and their momentum."""
        return with_momentum("images", self._start.clone())

    def step(self, state: State, step: int, *, lr_scale: float) -> float:
        """Take `outer_loops` steps on the images with one network; see DistillationMethod.

        Returns:
            The mean over these of the loss before each.
        """
        spec = self._spec
        initialise(self._network, self._generator("network", step))
        optimiser = torch.optim.SGD(self._network.parameters(), lr=spec.lr_network, fused=True)
        losses = []  # on the device until the end: reading each would make a GPU wait
        for loop in range(spec.outer_loops):
            if loop > 0:
                self._train(optimiser, state["images"], step, loop - 1)
            loss, gradient = self._match(state["images"], step, loop)
            descend(state, "images", gradient, spec.lr * lr_scale, spec.momentum)
            losses.append(loss)
        return float(torch.stack(losses).mean())

    def distilled_set(self, state: State) -> DistilledSet:
        """The images with their labels, equally many of each class."""
        return DistilledSet(state["images"].clone(), self._labels.clone())

    def _match(self, images: Tensor, step: int, loop: int) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient by the images."""
        learned = images.detach().requires_grad_()
        masked = mask_images(self._spec.mask, learned, self._generator("mask", step, loop))
        real = self._draw_real(self._generator("real", step, loop))
        generator = self._generator("regulariser", step, loop)
        matched = regularised_classes(self._spec.regulariser, masked, real, generator)
        # Cut from the mask's graph, so that each class's own can go as soon as it is done with.
        own = torch.split(matched.images.detach(), self._spec.images_per_class)
        pairs = []
        for label, (wanted, got) in enumerate(zip(matched.real, own, strict=True)):
            generator = self._generator("augment", step, loop, label)
            change = draw_augmentation(self._spec.augmentation, generator)
            pairs.append(
                self._match_class(matched.targets[label], wanted, got.requires_grad_(), change)
            )
        losses, gradients = zip(*pairs, strict=True)
        (gradient,) = torch.autograd.grad(matched.images, learned, torch.cat(gradients))
        return torch.stack(losses).sum(), gradient

    def _match_class(
        self, target: Tensor, real: Tensor, own: Tensor, change: DrawnAugmentation | None
    ) -> tuple[Tensor, Tensor]:
        wanted = self._real_gradients(augment(real, change), target)
        summed = self._summed_loss(augment(own, change), target)
        got = torch.autograd.grad(summed / len(own), self._matched, create_graph=True)
        loss = gradient_distance(got, wanted)
        (gradient,) = torch.autograd.grad(loss, own)
        return loss.detach(), gradient

    def _real_gradients(self, images: Tensor, target: Tensor) -> list[Tensor]:
        total = [torch.zeros_like(weight) for weight in self._matched]
        for part in chunks(images, self._spec.width):
            loss = self._summed_loss(part, target) / len(images)
            of_part = torch.autograd.grad(loss, self._matched)
            total = [summed + one for summed, one in zip(total, of_part, strict=True)]
        return total

    def _summed_loss(self, images: Tensor, target: Tensor) -> Tensor:
        labels = target.expand(len(images), *target.shape)
        return functional.cross_entropy(self._network(images), labels, reduction="sum")

    def _train(
        self, optimiser: torch.optim.Optimizer, images: Tensor, step: int, loop: int
    ) -> None:
        """Train the network on the set under the mask it was matched with."""
        spec = self._spec
        regulariser = spec.regulariser if spec.mask_inner else None
        # The generator of the matching before it, so that this is the very mask matched under.
        if spec.mask_inner:
            images = mask_images(spec.mask, images, self._generator("mask", step, loop))
        for epoch in range(spec.inner_epochs):
            order = torch.randperm(
                len(images), generator=self._generator("order", step, loop, epoch)
            ).to(images.device)
            generator = self._generator("augment inner", step, loop, epoch)
            own_generator = self._generator("regulariser inner", step, loop, epoch)
            for batch in torch.split(order, spec.batch_synthetic):
                mixed = regularised(regulariser, images[batch], own_generator)
                labels = mixed_labels(mixed, self._labels[batch], self._n_classes)
                shown = augment_each(mixed.images, spec.augmentation, generator)
                optimiser.zero_grad()
                parts = chunks(shown, spec.width)
                for part, own in zip(parts, torch.split(labels, len(parts[0])), strict=True):
                    loss = functional.cross_entropy(self._network(part), own, reduction="sum")
                    torch.autograd.backward(loss / len(batch))
                optimiser.step()

    def _generator(self, purpose: str, *step: int) -> torch.Generator:
        return seeded_generator(self._seed, PHASE, purpose, *step)


def gradient_distance(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """How far two gradients of a network are apart: cosine distances, one an output of a layer.

    Args:
        got: of each weight tensor of two or more dimensions, its first that of the outputs.
        wanted: likewise, of the same shapes.

    Returns:
        The scalar sum over tensors and their rows i of 1 - <got_i, wanted_i> / (|got_i| |wanted_i|
        + 1e-6); a row of zeros counts 1.

    Source:
        Zhao, Mopuri and Bilen, ICLR 2021, section 3.3; 1e-6 is that of the published code.
    """
    total = torch.zeros((), device=got[0].device, dtype=got[0].dtype)
    for one, other in zip(got, wanted, strict=True):
        rows, aims = one.flatten(1), other.flatten(1)
        norms = rows.norm(dim=1) * aims.norm(dim=1)
        total = total + (1 - (rows * aims).sum(1) / (norms + EPSILON)).sum()
    return total
