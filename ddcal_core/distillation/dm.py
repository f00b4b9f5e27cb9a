"""Distribution matching (DM) with masked distillation training (MDT)."""

import torch
from torch import Tensor

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
from ddcal_core.networks import build_network, initialise
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.training.augmentation import augment, draw_augmentation
from ddcal_core.training.masking import mask_images
from ddcal_core.training.regularising import regularised_classes


class DistributionMatching:
    """Learn images whose mean features match those of real images in random networks.

    Each step draws a fresh ConvNet and, class by class, a batch of real images, and takes one
    gradient step on the images for

        loss = sum over classes of || mean embed(real) - mean embed(masked synthetic) ||^2,

    with the mask (MDT) drawn anew in each step; with ratio 0 it is plain DM bit for bit. With
    Siamese augmentation one change is drawn for each class and laid on its real and, after the
    mask, its synthetic images. Every draw has a generator of its own purpose and step.

    Args:
        images: float32 (N, C, H, W), real, network-input space; all is computed on their device.
        labels: int64 (N,), 0 to K - 1.
        spec: images per class, initialisation, mask, step sizes, network.
        facts: image shape and number of classes.
        seed: of all random draws.
        start: the distilled set that init names, if it does.

    Raises:
        InvalidDataError: a class has no real images, or with init "real" fewer than
            images_per_class; a label is out of range; or the set to start from has another number
            of images of a class.
        ValueError: the images are too small for the depth.

    Source:
        Zhao and Bilen, WACV 2023 (DM); arXiv 2307.12463 (MDT, whose place in DM is our reading).
    """

    def __init__(
        self,
        images: NetworkImages,
        labels: Tensor,
        spec: DmSpec,
        facts: DatasetFacts,
        *,
        seed: int,
        start: StartingSet | None = None,
    ) -> None:
        self._spec = spec
        self._seed = seed
        self._start = initial_images(images, labels, spec, facts, seed, start)
        self._labels = synthetic_labels(spec, facts).to(images.device)
        self._draw_real = real_batches(images, labels, spec.batch_real, facts.n_classes)
        network = build_network(spec, facts, seeded_generator(seed, PHASE, "network", 0))
        self._network = network.to(images.device).requires_grad_(False)

    @property
    def stuck_loss(self) -> None:
        """None: how far the means of features lie apart depends on the real images."""

    def initial_state(self) -> State:
        """The images before the first step, and their momentum."""
        return with_momentum("images", self._start.clone())

    def step(self, state: State, step: int, *, lr_scale: float) -> float:
        """Take one step on the images; see DistillationMethod."""
        spec = self._spec
        initialise(self._network, self._generator("network", step))
        images = state["images"].detach().requires_grad_()
        masked = mask_images(spec.mask, images, self._generator("mask", step))
        real = self._draw_real(self._generator("real", step))
        generator = self._generator("regulariser", step)
        matched = regularised_classes(spec.regulariser, masked, real, generator)
        real, masked = matched.real, matched.images
        if spec.augmentation:
            real, masked = self._augmented(real, masked, step)
        loss = self._loss(self._mean_features(real), masked)
        (gradient,) = torch.autograd.grad(loss, images)
        descend(state, "images", gradient, spec.lr * lr_scale, spec.momentum)
        return float(loss.detach())

    def distilled_set(self, state: State) -> DistilledSet:
        """The images with their labels, equally many of each class."""
        return DistilledSet(state["images"].clone(), self._labels.clone())

    def _mean_features(self, batches: list[Tensor]) -> Tensor:
        """Mean embedding of each batch, (K, F), without gradients."""
        with torch.no_grad():
            embedded = [
                torch.cat([self._network.embed(part) for part in chunks(batch, self._spec.width)])
                for batch in batches
            ]
            return torch.stack([features.mean(0) for features in embedded])

    def _loss(self, real_means: Tensor, masked: Tensor) -> Tensor:
        # One pass for all classes: no layer mixes images, and many tiny passes cost more.
        features = self._network.embed(masked).view(len(real_means), -1, real_means.shape[1])
        return (real_means - features.mean(1)).square().sum()

    def _augmented(
        self, real: list[Tensor], masked: Tensor, step: int
    ) -> tuple[list[Tensor], Tensor]:
        changes = [
            draw_augmentation(self._spec.augmentation, self._generator("augment", step, label))
            for label in range(len(real))
        ]
        own = torch.split(masked, self._spec.images_per_class)
        real = [augment(batch, change) for batch, change in zip(real, changes, strict=True)]
        return real, torch.cat([augment(x, change) for x, change in zip(own, changes, strict=True)])

    def _generator(self, purpose: str, *step: int) -> torch.Generator:
        return seeded_generator(self._seed, PHASE, purpose, *step)
