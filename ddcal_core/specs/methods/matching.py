"""What the methods share that match real and synthetic images in random networks."""

from typing import Annotated

from pydantic import Field

from ddcal_core.specs.methods.method import MethodSpec, Values, smoke_shape

BatchReal = Annotated[
    int,
    Field(
        ge=1,
        le=10_000,
        description="Real images per class and step; all of a class if it has fewer.",
    ),
]

ImageLr = Annotated[float, Field(gt=0, le=1e6, description="Step size on the images (SGD).")]

ImageMomentum = Annotated[float, Field(ge=0, lt=1, description="Of the steps on the images.")]

_DC_DATASETS = ("mnist", "fashion_mnist", "svhn", "cifar10", "cifar100")

# Images per class -> steps on the images per network, epochs of its training between two of them.
_DC_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


class GradientMatchingSpec(MethodSpec):
    """What DC and DSA share: in each iteration a fresh network, matched and trained in turns."""

    iterations: int = Field(
        20, ge=1, le=1_000_000, description="Number of networks, one after another."
    )
    outer_loops: int = Field(5, ge=1, le=1_000, description="Steps on the images per network.")
    inner_epochs: int = Field(
        5,
        ge=0,
        le=1_000,
        description="Epochs that a network is trained on the set between two steps on the images.",
    )
    batch_real: BatchReal = 64
    batch_synthetic: int = Field(
        256, ge=1, le=100_000, description="Batch size of the inner training."
    )
    lr: ImageLr = 0.1
    momentum: ImageMomentum = 0.5
    lr_network: float = Field(
        0.01, gt=0, le=100, description="Step size of the inner training (SGD, no momentum)."
    )
    mask_inner: bool = Field(
        True, description="Whether the inner training sees the set masked and regularised, too."
    )


def published_loops() -> dict[tuple[str, int], Values]:
    """DC's numbers: github.com/VICO-UoE/DatasetCondensation, commit 53f63a6, main.py and utils.py.

    DSA's are the same but for its start and its augmentation.
    """
    return {
        (dataset, size): {
            "init": "noise",
            "iterations": 1_000,
            "outer_loops": outer,
            "inner_epochs": inner,
            "batch_real": 256,
            "batch_synthetic": 256,
            "lr": 0.1,
            "momentum": 0.5,
            "lr_network": 0.01,
            "width": 128,
            "depth": 3,
        }
        for dataset in _DC_DATASETS
        for size, (outer, inner) in _DC_LOOPS.items()
    }


def smoke_loops(dataset: str, images_per_class: int, *, lr: float, version: int) -> Values:
    """Fewer networks with more steps each, and larger ones where a class has several images.

    With so few steps the published size leaves a set next to its start (docs/backbones.md).
    """
    shape = smoke_shape(dataset)
    if images_per_class == 1:
        return {**shape, "iterations": 100, "outer_loops": 1, "inner_epochs": 1}
    return {**shape, "lr": lr} if version > 1 else shape
