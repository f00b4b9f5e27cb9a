"""How a data set is distilled."""

from typing import Literal

from pydantic import Field

from ddcal_core.specs.fields import Spec
from ddcal_core.specs.masks import MaskSpec


class DistillSpec(Spec):
    """Distribution matching with masked distillation training.

    Source: Zhao and Bilen, WACV 2023 (DM); the mask: arXiv 2307.12463 (MDT). The defaults are
    sized for two CPU cores; the published setting is width 128, 20,000 iterations.
    """

    method: Literal["dm"] = "dm"
    images_per_class: int = Field(10, ge=1, le=1_000)
    init: Literal["real", "noise"] = Field(
        "real", description="Start from random real training images or from N(0, 1)."
    )
    mask: MaskSpec = Field(MaskSpec(), description="MDT: mask on the synthetic images.")
    iterations: int = Field(200, ge=1, le=1_000_000)
    batch_real: int = Field(256, ge=1, le=10_000, description="Real images a class and iteration.")
    lr: float = Field(1.0, gt=0, le=1e6, description="Step size on the images (SGD).")
    momentum: float = Field(0.5, ge=0, lt=1)
    width: int = Field(32, ge=1, le=512, description="Channels of the ConvNet matched on.")
    depth: int = Field(3, ge=1, le=6, description="Blocks of the ConvNet; each halves the image.")
