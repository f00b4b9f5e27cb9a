"""A distilled set as its exports see it: arrays, pixels, and what its manifest says."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ddcal_core.data.input_space import InputSpace, to_pixels
from ddcal_core.formats.exports.cards import Declared
from ddcal_core.formats.exports.evidence import Measured
from ddcal_core.formats.manifests import SetManifest
from ddcal_core.formats.sets import StoredSet


@dataclass(frozen=True, eq=False)
class ExportedSet:
    """A distilled set to be written in another format.

    Attributes:
        manifest: how it was made.
        stored: its images and labels.
        space: the input space of the images; on the CPU.
        measured: what reports have found of networks trained on it.
        declared: of the data set.
    """

    manifest: SetManifest
    stored: StoredSet
    space: InputSpace
    measured: Sequence[Measured]
    declared: Declared

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Uint8 (M, C, H, W): rounded, and clipped where they left [0, 1]."""
        pixels: NDArray[np.uint8] = to_pixels(self.stored.images, self.space).numpy()
        return pixels

    @cached_property
    def labels(self) -> list[int]:
        """One an image; with soft labels the class that each gives most to."""
        return [int(label) for label in self.stored.labels]

    @cached_property
    def share_clipped(self) -> float:
        """Share of values that lie outside [0, 1] as pixels by more than half a grey level."""
        exact = self.space.back(self.stored.images)
        half = 0.5 / 255
        return float(((exact < -half) | (exact > 1 + half)).float().mean())
