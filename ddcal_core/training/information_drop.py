"""Training sets with a share of their information taken out."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from ddcal_core.data.labelled import indices_by_class
from ddcal_core.data.network_images import NetworkImages, pick
from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.information_drop import (
    MAX_COMPONENT_SIDE,
    AnyDrop,
    DroppedComponents,
    DroppedImages,
    DroppedPatches,
    DroppedPixels,
)
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.training.masking import MaskedImages

_BATCH = 1_000


@dataclass(frozen=True, eq=False)
class Left:
    """What is left of a training set.

    Attributes:
        images: M of them, network-input space.
        index: int64 (M,), their places in the whole set, ascending; on the images' device.
    """

    images: NetworkImages
    index: Tensor


def drop_information(
    spec: AnyDrop | None, images: NetworkImages, labels: Tensor, generator: torch.Generator
) -> Left:
    """A training set without a share of its pixels, patches, singular components or images.

    What is dropped is drawn once and stays dropped through all epochs. Of equal generators a larger
    share drops all that a smaller one does.

    Args:
        spec: what, and how much; None drops nothing.
        images: N, (C, H, W) each, floating point, network-input space.
        labels: int64 (N,).
        generator: a CPU generator.

    Returns:
        All N images, changed; or without some of them.

    Raises:
        InvalidDataError: components of a matrix that is too large to decompose.
        ValueError: a patch is larger than an image.

    Source:
        arXiv 2307.12463, whose figure of accuracy against the share dropped leaves open what is
        dropped how: this is our reading.
    """
    everything = torch.arange(len(labels), device=labels.device)
    match spec:
        case None:
            return Left(images, everything)
        case DroppedPixels(share=share):
            return Left(MaskedImages(MaskSpec(ratio=share), images, generator), everything)
        case DroppedPatches(share=share, patch_size=size):
            mask = MaskSpec(unit="patch", patch_size=size, ratio=share)
            return Left(MaskedImages(mask, images, generator), everything)
        case DroppedComponents():
            return Left(_without_components(spec, images, generator), everything)
        case DroppedImages(share=share):
            index = _left_images(share, labels, generator)
            return Left(pick(images, index), index)
        case _:
            assert_never(spec)


def _left_images(share: float, labels: Tensor, generator: torch.Generator) -> Tensor:
    kept = []
    for own in indices_by_class(labels, int(labels.max()) + 1):
        order = torch.randperm(len(own), generator=generator).to(own.device)
        n_dropped = min(round(share * len(own)), max(0, len(own) - 1))
        kept.append(own[order[: len(own) - n_dropped]])
    return torch.cat(kept).sort().values


class _Projected:
    """Images projected on some directions of pixel space, a batch at a time."""

    def __init__(self, images: NetworkImages, directions: Tensor) -> None:
        self._images, self._directions = images, directions
        self.shape, self.device, self.dtype = images.shape, images.device, images.dtype

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        batch = self._images[index]
        flat = batch.flatten(1).double() @ self._directions @ self._directions.T
        return flat.view_as(batch).to(batch.dtype)


def _without_components(
    spec: DroppedComponents, images: NetworkImages, generator: torch.Generator
) -> NetworkImages:
    """The eigenvectors of the smaller of X X' and X' X are singular vectors of X."""
    n_images, n_numbers = len(images), images.shape[1:].numel()
    if min(n_images, n_numbers) > MAX_COMPONENT_SIDE:
        raise InvalidDataError(
            f"drop: wanted at most {MAX_COMPONENT_SIDE:,} images, or images of at most as many "
            f"numbers, to decompose; got {n_images:,} images of {n_numbers:,}"
        )
    if n_images <= n_numbers:
        whole = images[:]
        flat = whole.flatten(1).double()
        rows = _left_vectors(spec, flat @ flat.T, generator)
        return (rows @ (rows.T @ flat)).view_as(whole).to(whole.dtype)
    gram = torch.zeros((n_numbers, n_numbers), dtype=torch.float64, device=images.device)
    for start in range(0, n_images, _BATCH):
        flat = images[start : start + _BATCH].flatten(1).double()
        gram += flat.T @ flat
    return _Projected(images, _left_vectors(spec, gram, generator))


def _left_vectors(spec: DroppedComponents, gram: Tensor, generator: torch.Generator) -> Tensor:
    """The eigenvectors of a Gram matrix that are kept, (n, n left)."""
    # Of the smallest value first.
    vectors: Tensor = torch.linalg.eigh(gram).eigenvectors
    n_all = len(gram)
    n_dropped = round(spec.share * n_all)
    match spec.which:
        case "smallest":
            return vectors[:, n_dropped:]
        case "largest":
            return vectors[:, : n_all - n_dropped]
        case "random":
            order = torch.randperm(n_all, generator=generator)
            return vectors[:, order[n_dropped:].sort().values.to(vectors.device)]
        case _:
            assert_never(spec.which)
