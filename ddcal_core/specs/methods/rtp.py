"""Remembering the past (RTP)."""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.methods.method import MethodSpec, Values, smoke_shape
from ddcal_core.specs.methods.unrolled import Labels, MaskRedraw


class RtpSpec(MethodSpec):
    """Remembering the past: a network trained on the set is to classify real images.

    With `form` bases, `images_per_class` is a storage budget: as many numbers as so many images
    hold are spent on bases that all classes share and on the coefficients of each image, which is
    a weighted sum of the bases, enlarged. The set made is the decoded one.

    Source: Deng and Russakovsky, NeurIPS 2022 (RTP); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["rtp"]
    iterations: int = Field(
        100, ge=1, le=1_000_000, description="Networks trained on the set, a step of it after each."
    )
    form: Literal["bases", "pixels"] = Field(
        "bases", description="What is learned: bases and coefficients, or the pixels of the images."
    )
    n_bases: int = Field(
        16, ge=1, le=10_000, description="Number of bases (K); ignored with form pixels."
    )
    downscale: int = Field(
        2,
        ge=1,
        le=64,
        description="How many times smaller than the images the bases are, per side.",
    )
    inner_steps: int = Field(
        20, ge=1, le=10_000, description="Steps of SGD on the set per iteration (T)."
    )
    batch_per_class: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Images of the set per class and inner step; all of a class if it has fewer.",
    )
    lr_network: float = Field(0.05, gt=0, le=100, description="Learning rate of the inner steps.")
    momentum_network: float = Field(0.9, ge=0, lt=1, description="Momentum of the inner steps.")
    batch_real: int = Field(
        32,
        ge=1,
        le=10_000,
        description="Real images per class that the trained network is to classify.",
    )
    task_classes: int | None = Field(
        None, ge=2, le=10_000, description="Classes drawn per iteration; null for all."
    )
    lr: float = Field(1.0, gt=0, le=1e7, description="Step size on everything learned (SGD).")
    momentum: float = Field(0.5, ge=0, lt=1, description="Momentum of everything learned.")
    clip_norm: float = Field(
        2.0, gt=0, le=1e9, description="Largest norm of the gradient over everything learned."
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

    @classmethod
    def published(cls) -> Mapping[tuple[str, int], Values]:
        """github.com/princetonvisualai/RememberThePast, commit f49e631: README.

        With bases 115 images a class are decoded of the numbers of one.
        """
        common = {
            "init": "noise",
            "iterations": 500_000,
            "inner_steps": 150,
            "lr_network": 0.01,
            "momentum_network": 0.9,
            "batch_real": 64,
            "lr": 0.1,
            "momentum": 0.5,
            "clip_norm": 2.0,
            "width": 128,
            "depth": 3,
        }
        bases = {"form": "bases", "n_bases": 16, "downscale": 2, "batch_per_class": 32}
        return {
            ("cifar10", 1): {**common, **bases},
            ("cifar10", 10): {**common, "form": "pixels", "batch_per_class": 10},
        }

    @classmethod
    def smoke(cls, dataset: str, images_per_class: int, *, version: int) -> Values:
        """Bases of few images a class and step; where a class has several images, their pixels."""
        shape = smoke_shape(dataset)
        # Within a few minutes bases pay where pixels are fewest.
        if images_per_class == 1:
            return {**shape, "batch_per_class": 5}
        steps = {"lr": 10.0, "clip_norm": 20.0, "iterations": 40} if version > 1 else {}
        return {**shape, "form": "pixels", **steps}
