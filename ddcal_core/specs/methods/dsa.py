"""Gradient matching with Siamese augmentation (DSA)."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ddcal_core.specs.augmentations import ALL_AUGMENTATIONS, Augmentation, augmentations
from ddcal_core.specs.methods.matching import GradientMatchingSpec, published_loops, smoke_loops
from ddcal_core.specs.methods.method import Values


class DsaSpec(GradientMatchingSpec):
    """Gradient matching with Siamese augmentation.

    Source: Zhao and Bilen, ICML 2021 (DSA); the mask: arXiv 2307.12463 (MDT).
    """

    method: Literal["dsa"]
    augmentation: Annotated[Augmentation, Field(min_length=1)] = ALL_AUGMENTATIONS

    @classmethod
    def published(cls) -> Mapping[tuple[str, int], Values]:
        """As main.py of the authors' code has it with --method DSA."""
        return {
            (dataset, size): {**values, "init": "real", "augmentation": augmentations(dataset)}
            for (dataset, size), values in published_loops().items()
        }

    @classmethod
    def smoke(cls, dataset: str, images_per_class: int, *, version: int) -> Values:
        """A few networks, three times the published step."""
        loops = smoke_loops(dataset, images_per_class, lr=0.3, version=version)
        return {**loops, "augmentation": augmentations(dataset)}
