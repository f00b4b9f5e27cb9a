"""The methods that differentiate through training: MTT, its experts, and RTP."""

import math
from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.backbone import Augmentation, BackboneSpec
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.fields import Spec

Labels = Annotated[
    Literal["hard", "soft"],
    Field(
        description="hard: an image's class. soft: the softmax of K learned numbers an image, at "
        "the start 0.9 for its class."
    ),
]
MaskRedraw = Annotated[
    Literal["iteration", "step"],
    Field(
        description="Whether all inner steps of an iteration see the set under one mask, or each "
        "under its own."
    ),
]


class ExpertSpec(Spec):
    """Networks trained on real images, their parameters kept after each epoch: what MTT imitates.

    Plain SGD, no weight decay, a constant learning rate. Published: 100 experts, lr 0.01, no
    momentum, batches of 256, width 128, DSA's augmentations, whole epochs.
    """

    n_experts: int = Field(8, ge=1, le=1_000)
    epochs: int = Field(
        6,
        ge=1,
        le=1_000,
        description="Snapshots are kept at 0 (before training), 1, 2, ... to this one. MTT reads "
        "those up to max_start_epoch - 1 + expert_epochs and none beyond.",
    )
    images_per_epoch: int | None = Field(
        4_096,
        ge=1,
        le=100_000_000,
        description="Real images an epoch, drawn anew in each; all where there are fewer, or with "
        "null.",
    )
    batch_size: int = Field(128, ge=1, le=100_000)
    lr: float = Field(0.02, gt=0, le=100)
    momentum: float = Field(0.0, ge=0, lt=1)
    width: int = Field(32, ge=1, le=512, description="Channels of the ConvNet.")
    depth: int = Field(3, ge=1, le=6, description="Blocks of the ConvNet; each halves the image.")
    augmentation: Augmentation = ()


class MttSpec(BackboneSpec):
    """Matching training trajectories: the set leads a network where real images led an expert.

    Source: Cazenavette et al., CVPR 2022 (MTT); the mask: arXiv 2307.12463 (MDT). Memory does not
    grow with `synthetic_steps`: their gradient is the exact one of a reverse sweep.
    """

    method: Literal["mtt"]
    iterations: int = Field(100, ge=1, le=1_000_000)
    synthetic_steps: int = Field(
        10, ge=1, le=10_000, description="Steps of SGD on the set in each iteration (N)."
    )
    expert_epochs: int = Field(
        2, ge=1, le=1_000, description="How many epochs ahead of the start the target is (M)."
    )
    max_start_epoch: int = Field(
        4, ge=1, le=1_000, description="Starts are drawn from the expert's epochs below this one."
    )
    batch_synthetic: int | None = Field(
        None, ge=1, le=100_000, description="Images a step on the set; null: all of them."
    )
    lr: float = Field(100.0, gt=0, le=1e7, description="Step size on the images (SGD).")
    momentum: float = Field(0.5, ge=0, lt=1, description="Of all that is learned.")
    lr_network: float = Field(
        0.05,
        gt=0,
        le=100,
        description="Where the learned learning rate of the steps on the set starts.",
    )
    lr_lr: float = Field(
        1e-4,
        ge=0,
        le=100,
        description="Step size on that learning rate as published, for steps on the rate itself. "
        "Here its logarithm is learned, with lr_lr / lr_network^2: the first step is the same, "
        "and the rate stays above 0.",
    )
    labels: Labels = "hard"
    lr_labels: float = Field(
        1.0, gt=0, le=1e7, description="Step size on soft labels' numbers; not read with hard ones."
    )
    mask_redraw: MaskRedraw = "iteration"

    def experts_to_imitate(self) -> ExpertSpec:
        """Experts of the same network and augmentation that train for as long as they are read.

        With the preset `published` they are as many, and trained, as MTT's code does it.
        """
        experts = ExpertSpec(
            epochs=self.last_epoch_read,
            width=self.width,
            depth=self.depth,
            augmentation=self.augmentation,
        )
        if self.preset != "published":
            return experts
        published = {"n_experts": 100, "images_per_epoch": None, "batch_size": 256, "lr": 0.01}
        return experts.model_copy(update=published)

    @property
    def last_epoch_read(self) -> int:
        """The last of an expert's epochs that is ever read; experts need no more than this."""
        return self.max_start_epoch - 1 + self.expert_epochs


class RtpSpec(BackboneSpec):
    """Remembering the past: a network trained on the set is to classify real images.

    With `form` bases, `images_per_class` is a storage budget: as many numbers as so many images
    hold are spent on bases that all classes share and on the coefficients of each image, which is
    a weighted sum of the bases, enlarged. The set made is the decoded one.

    Source: Deng and Russakovsky, NeurIPS 2022 (RTP); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["rtp"]
    iterations: int = Field(100, ge=1, le=1_000_000)
    form: Literal["bases", "pixels"] = "bases"
    n_bases: int = Field(16, ge=1, le=10_000, description="K; not read with form pixels.")
    downscale: int = Field(
        2, ge=1, le=64, description="How many times smaller bases are than images, a side."
    )
    inner_steps: int = Field(
        20, ge=1, le=10_000, description="Steps of SGD on the set in each iteration (T)."
    )
    batch_per_class: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Images of the set a class and inner step; all where it has fewer.",
    )
    lr_network: float = Field(0.05, gt=0, le=100, description="Of the inner steps.")
    momentum_network: float = Field(0.9, ge=0, lt=1, description="Of the inner steps.")
    batch_real: int = Field(
        32, ge=1, le=10_000, description="Real images a class that the trained network is asked."
    )
    task_classes: int | None = Field(
        None, ge=2, le=10_000, description="Classes drawn for each iteration; null: all."
    )
    lr: float = Field(1.0, gt=0, le=1e7, description="Step size on all that is learned (SGD).")
    momentum: float = Field(0.5, ge=0, lt=1)
    clip_norm: float = Field(
        2.0, gt=0, le=1e9, description="Largest norm of the gradient, over all that is learned."
    )
    labels: Labels = "hard"
    mask_redraw: MaskRedraw = "iteration"

    def basis_shape(self, facts: DatasetFacts) -> tuple[int, int, int]:
        """(C, h, w) of a basis: sides of the images over `downscale`, rounded up."""
        n_channels, height, width = facts.image_shape
        return n_channels, -(-height // self.downscale), -(-width // self.downscale)

    def budget(self, facts: DatasetFacts) -> int:
        """Numbers that may be stored: those of `images_per_class` images a class."""
        return self.images_per_class * facts.n_classes * math.prod(facts.image_shape)

    def decoded_per_class(self, facts: DatasetFacts) -> int:
        """Images a class in the set that is made; 0 where the budget leaves none.

        With bases, R = floor((budget - numbers in the bases) / (K a image and class)), K numbers
        more an image where labels are soft (K the classes there).
        """
        if self.form == "pixels":
            return self.images_per_class
        left = self.budget(facts) - self.n_bases * math.prod(self.basis_shape(facts))
        each = self.n_bases + (facts.n_classes if self.labels == "soft" else 0)
        return max(0, left // (facts.n_classes * each))

    def storage(self, facts: DatasetFacts) -> dict[str, int]:
        """What the budget is spent on, in numbers, for the set's manifest."""
        per_class = self.decoded_per_class(facts)
        n_images = per_class * facts.n_classes
        spent = {
            "bases": self.n_bases * math.prod(self.basis_shape(facts)),
            "coefficients": n_images * self.n_bases,
        }
        if self.form == "pixels":
            spent = {"images": n_images * math.prod(facts.image_shape)}
        spent["labels"] = n_images * facts.n_classes if self.labels == "soft" else 0
        return {
            "budget": self.budget(facts),
            **spent,
            "stored": sum(spent.values()),
            "decoded_images_per_class": per_class,
        }
