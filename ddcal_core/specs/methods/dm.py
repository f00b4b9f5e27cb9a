"""Distribution matching (DM): the means of features of random networks."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.augmentations import augmentations
from ddcal_core.specs.methods.matching import BatchReal, ImageLr, ImageMomentum
from ddcal_core.specs.methods.method import MethodSpec, Values, smoke_shape

_DM_SIZES = {"mnist": (1, 10, 50), "cifar100": (1, 10, 50)} | {
    "cifar10": (1, 10, 50, 100, 200, 500, 1_000)
}


class DmSpec(MethodSpec):
    """Distribution matching.

    Source: Zhao and Bilen, WACV 2023 (DM); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["dm"]
    batch_real: BatchReal = 256
    lr: ImageLr = 1.0
    momentum: ImageMomentum = 0.5

    @classmethod
    def published(cls) -> Mapping[tuple[str, int], Values]:
        """github.com/VICO-UoE/DatasetCondensation, commit 53f63a6: main_DM.py and README."""
        return {
            (dataset, size): {
                "init": "real",
                "iterations": 20_000,
                "batch_real": 256,
                "lr": 10.0 if size >= 100 else 1.0,
                "momentum": 0.5,
                "width": 128,
                "depth": 3,
                "augmentation": augmentations(dataset),
            }
            for dataset, sizes in _DM_SIZES.items()
            for size in sizes
        }

    @classmethod
    def smoke(cls, dataset: str, images_per_class: int, *, version: int) -> Values:  # noqa: ARG003
        """The defaults; of tiny images a shallower network."""
        return smoke_shape(dataset)
