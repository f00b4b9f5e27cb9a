"""The methods that match real and synthetic images in random networks: DM, DC and DSA."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ddcal_core.specs.backbone import ALL_AUGMENTATIONS, Augmentation, BackboneSpec

BatchReal = Annotated[
    int, Field(ge=1, le=10_000, description="Real images a class and step; all where it has fewer.")
]
ImageLr = Annotated[float, Field(gt=0, le=1e6, description="Step size on the images (SGD).")]
ImageMomentum = Annotated[float, Field(ge=0, lt=1)]


class DmSpec(BackboneSpec):
    """Distribution matching.

    Source: Zhao and Bilen, WACV 2023 (DM); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["dm"] = "dm"
    batch_real: BatchReal = 256
    lr: ImageLr = 1.0
    momentum: ImageMomentum = 0.5


class GradientMatchingSpec(BackboneSpec):
    """What DC and DSA share: in each iteration a fresh network, matched and trained in turns."""

    iterations: int = Field(20, ge=1, le=1_000_000, description="Networks, one after another.")
    outer_loops: int = Field(
        5, ge=1, le=1_000, description="Steps on the images with each network."
    )
    inner_epochs: int = Field(
        5,
        ge=0,
        le=1_000,
        description="Epochs that a network is trained on the set between two of its steps.",
    )
    batch_real: BatchReal = 64
    batch_synthetic: int = Field(
        256, ge=1, le=100_000, description="Synthetic images a batch of the inner training."
    )
    lr: ImageLr = 0.1
    momentum: ImageMomentum = 0.5
    lr_network: float = Field(
        0.01, gt=0, le=100, description="Step size of the inner training (SGD, no momentum)."
    )
    mask_inner: bool = Field(
        True, description="Whether the mask lies on the set in the inner training too."
    )


class DcSpec(GradientMatchingSpec):
    """Gradient matching. Augmentation is what makes it `dsa`.

    Source: Zhao, Mopuri and Bilen, ICLR 2021 (DC); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["dc"]

    @field_validator("augmentation")
    @classmethod
    def _is_not_augmented(cls, augmentation: Augmentation) -> Augmentation:
        if augmentation:
            raise ValueError(
                f"wanted none, as dc with augmentation is method dsa; got {', '.join(augmentation)}"
            )
        return augmentation


class DsaSpec(GradientMatchingSpec):
    """Gradient matching with Siamese augmentation.

    Source: Zhao and Bilen, ICML 2021 (DSA); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["dsa"]
    augmentation: Annotated[Augmentation, Field(min_length=1)] = ALL_AUGMENTATIONS
