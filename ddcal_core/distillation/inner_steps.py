"""What the inner steps of MTT and RTP train on: batches of the set, masked, augmented, labelled."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ddcal_core.distillation.method import PHASE, State
from ddcal_core.distillation.unrolled_training import StepInputs
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.methods.mtt import MttSpec
from ddcal_core.specs.methods.rtp import RtpSpec
from ddcal_core.training.augmentation import augment_each
from ddcal_core.training.masking import mask_images
from ddcal_core.training.regularising import mixed_labels, regularised

START_PROBABILITY = 0.9
"""Of an image's own class, where soft labels start."""

LEAST_PROBABILITY = 1e-6
"""Of any class, where soft labels start from those of a set."""

Batch = Callable[[int], Tensor | None]
"""An inner step -> which images of the set it sees, int64 (n,); None for all in their order."""


def soft_label_start(labels: Tensor, n_classes: int, known: Tensor | None = None) -> Tensor:
    """Numbers whose softmax gives each image's class 0.9 and the others equal parts of the rest.

    Args:
        labels: int64 (M,).
        n_classes: K, at least 2.
        known: float32 (M, K), rows adding up to 1: what the softmax is to give instead, but for
            probabilities below 1e-6, which could hardly be learned away from.

    Returns:
        float32 (M, K), on the labels' device.
    """
    if known is not None:
        return known.clamp_min(LEAST_PROBABILITY).log().to(labels.device)
    own = torch.nn.functional.one_hot(labels, n_classes)
    odds = START_PROBABILITY * (n_classes - 1) / (1 - START_PROBABILITY)
    return own.float() * math.log(odds)


class IterationDraws:
    """All that one outer iteration draws, each by purpose and inner step.

    Args:
        seed: of the run.
        iteration: of the outer loop, from 0.
    """

    def __init__(self, seed: int, iteration: int) -> None:
        self._seed = seed
        self._iteration = iteration

    def __call__(self, purpose: str, *step: int) -> torch.Generator:
        """A fresh generator, the same each time it is asked for."""
        return seeded_generator(self._seed, PHASE, purpose, self._iteration, *step)


def masked_for_iteration(images: Tensor, spec: MttSpec | RtpSpec, draws: IterationDraws) -> Tensor:
    """The set as an iteration sees it, where its mask is held through all inner steps.

    Args:
        images: (M, C, H, W), floating point, network-input space.
        spec: the mask, and when it is drawn anew.
        draws: of the iteration.

    Returns:
        Of the same shape and dtype, differentiable; `images` itself where each step draws a mask
        of its own.
    """
    if spec.mask_redraw == "iteration":
        return mask_images(spec.mask, images, draws("mask"))
    return images


def step_inputs(
    spec: MttSpec | RtpSpec, draws: IterationDraws, batch: Batch, labels: Tensor
) -> StepInputs:
    """What each inner step trains on: mask, where redrawn, regulariser, augmentation.

    Args:
        spec: says mask, regulariser, augmentation and whether labels are soft.
        draws: of the iteration.
        batch: which images a step sees.
        labels: int64 (M,), hard ones, of every class.

    Returns:
        From {"images": (M, C, H, W), and with soft labels "labels": (M, K)} and a step to its
        images and targets.
    """
    n_classes = int(labels.max()) + 1

    def inputs(learned: State, step: int) -> tuple[Tensor, Tensor]:
        index = batch(step)
        images = learned["images"] if index is None else learned["images"][index]
        if spec.mask_redraw == "step":
            images = mask_images(spec.mask, images, draws("mask", step))
        mixed = regularised(spec.regulariser, images, draws("regulariser", step))
        targets = learned["labels"].softmax(1) if spec.labels == "soft" else labels
        targets = targets if index is None else targets[index]
        # Corners as the two papers' codes have them.
        images = augment_each(
            mixed.images,
            spec.augmentation,
            draws("augment", step),
            align_corners=spec.method == "mtt",
        )
        return images, mixed_labels(mixed, targets, n_classes)

    return inputs
