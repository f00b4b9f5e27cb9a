"""Gradient matching (DC)."""

from collections.abc import Mapping
from typing import Literal

from pydantic import field_validator

from ddcal_core.specs.augmentations import Augmentation
from ddcal_core.specs.methods.matching import GradientMatchingSpec, published_loops, smoke_loops
from ddcal_core.specs.methods.method import Values


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

    @classmethod
    def published(cls) -> Mapping[tuple[str, int], Values]:
        """As main.py of the authors' code has it."""
        return published_loops()

    @classmethod
    def smoke(cls, dataset: str, images_per_class: int, *, version: int) -> Values:
        """A few networks, ten times the published step."""
        return smoke_loops(dataset, images_per_class, lr=1.0, version=version)
