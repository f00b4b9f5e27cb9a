"""Matching training trajectories (MTT)."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from ddcal_core.specs.augmentations import ALL_AUGMENTATIONS
from ddcal_core.specs.experts import MAX_EPOCHS, ExpertSpec
from ddcal_core.specs.methods.method import MethodSpec, Values, smoke_shape
from ddcal_core.specs.methods.unrolled import Labels, MaskRedraw

# Images per class -> steps on the set, epochs matched, start epochs, image lr, lr_lr, first lr,
# images per step.
_MTT_ROWS = {
    ("cifar10", 1): (50, 2, 2, 100.0, 1e-7, 0.01, None),
    ("cifar10", 10): (30, 2, 20, 100.0, 1e-5, 0.001, None),
    ("cifar10", 50): (30, 2, 40, 1000.0, 1e-5, 0.001, None),
    ("cifar100", 1): (20, 3, 20, 1000.0, 1e-5, 0.01, None),
    ("cifar100", 10): (20, 2, 20, 1000.0, 1e-5, 0.01, None),
    ("cifar100", 50): (80, 2, 40, 1000.0, 1e-5, 0.01, 125),
}


class MttSpec(MethodSpec):
    """Matching training trajectories: the set leads a network where real images led an expert.

    Source: Cazenavette et al., CVPR 2022 (MTT); the mask: arXiv 2307.12463 (MDT). The gradient
    through the steps is exact; once the memory for kept graphs is used up, a further step takes
    one more copy of the network's parameters.
    """

    method: Literal["mtt"]
    iterations: int = Field(100, ge=1, le=1_000_000, description="Trajectories matched.")
    synthetic_steps: int = Field(
        10, ge=1, le=10_000, description="Steps of SGD on the set per iteration (N)."
    )
    expert_epochs: int = Field(
        2, ge=1, le=1_000, description="How many epochs after the start the target lies (M)."
    )
    max_start_epoch: int = Field(
        4, ge=1, le=1_000, description="Start epochs are drawn from those below this one."
    )
    batch_synthetic: int | None = Field(
        None, ge=1, le=100_000, description="Images per step on the set; null for all."
    )
    lr: float = Field(100.0, gt=0, le=1e7, description="Step size on the images (SGD).")
    momentum: float = Field(0.5, ge=0, lt=1, description="Momentum of everything learned.")
    lr_network: float = Field(
        0.05,
        gt=0,
        le=100,
        description="Initial value of the learned learning rate of the steps on the set.",
    )
    lr_lr: float = Field(
        1e-4,
        ge=0,
        le=100,
        description=(
            "Step size on that learning rate, as published. Learned is its logarithm, with "
            "step size lr_lr / lr_network^2: the first step is the same, and the rate "
            "stays above 0."
        ),
    )
    labels: Labels = "hard"
    lr_labels: float = Field(
        1.0,
        gt=0,
        le=1e7,
        description="Step size on the logits of soft labels; ignored with hard labels.",
    )
    mask_redraw: MaskRedraw = "iteration"

    @model_validator(mode="after")
    def _reads_what_experts_can_have(self) -> "MttSpec":
        if self.last_epoch_read > MAX_EPOCHS:
            raise ValueError(
                f"max_start_epoch - 1 + expert_epochs: wanted at most {MAX_EPOCHS:,}, the epochs "
                f"that experts can have; got {self.last_epoch_read:,}"
            )
        return self

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

    @classmethod
    def published(cls) -> Mapping[tuple[str, int], Values]:
        """github.com/justincui03/dc_benchmark, commit 2a57711, methods/tm/readme.md by the author.

        ZCA (eps 0.1) but for cifar10 with 50 and cifar100 with 10 images per class; 100 experts.
        """
        return {
            key: {
                "init": "real",
                "iterations": 5_000,
                "synthetic_steps": steps,
                "expert_epochs": ahead,
                "max_start_epoch": starts,
                "batch_synthetic": batch,
                "lr": lr,
                "momentum": 0.5,
                "lr_network": lr_network,
                "lr_lr": lr_lr,
                "width": 128,
                "depth": 3,
                "augmentation": ALL_AUGMENTATIONS,
            }
            for key, (steps, ahead, starts, lr, lr_lr, lr_network, batch) in _MTT_ROWS.items()
        }

    @classmethod
    def smoke(cls, dataset: str, images_per_class: int, *, version: int) -> Values:  # noqa: ARG003
        """The defaults; of tiny images a shallower network."""
        return smoke_shape(dataset)
