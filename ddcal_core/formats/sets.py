"""Distilled sets in the formats people load, and the way back.

Images are in network-input space; the manifest says which, and whitened ones bring the matrix
along. Nothing here is pickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ddcal_core.data.input_space import InputSpace, space_tensors, to_pixels
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.manifests import DescribedSpace, SetManifest, SetProvenance
from ddcal_core.formats.pictures import SNAPSHOT, sheet_png, shown_images
from ddcal_core.formats.set_files import write_set_files
from ddcal_core.formats.tensor_files import read_tensors
from ddcal_core.specs.facts import DatasetFacts


def write_distilled_set(
    folder: Path,
    images: Tensor,
    labels: Tensor,
    *,
    space: InputSpace,
    provenance: SetProvenance,
    learned_lr: float | None = None,
    compact: Mapping[str, Tensor] | None = None,
) -> SetManifest:
    """Write distilled_set.safetensors, manifest.json, distilled_set.npz and preview.png.

    Args:
        folder: an existing folder.
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,), or soft, float32 (M, K): then the files hold these as `soft_labels`, and
            as `labels` the class that each gives most to.
        space: the input space of the images, with the facts of the data set distilled.
        provenance: how the set was made.
        learned_lr: the learning rate learned with the images, which training on them takes unless
            told otherwise.
        compact: the smaller form that the images are decoded from, by name: written as
            compact.safetensors.

    Returns:
        The manifest.
    """
    tensors = {"images": images, **label_tensors(labels), **space_tensors(space)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    smaller = {name: value.detach().cpu().contiguous() for name, value in (compact or {}).items()}
    if smaller:
        save_file(smaller, folder / "compact.safetensors")
    return write_set_files(
        folder,
        {name: value.numpy() for name, value in tensors.items()},
        to_pixels(tensors["images"], space).numpy(),
        described=DescribedSpace.of(space.spec, space.facts),
        provenance=provenance,
        learned_lr=learned_lr,
        compact={name: value.numpy() for name, value in smaller.items()},
    )


def snapshot_png(images: Tensor, labels: Tensor, space: InputSpace) -> bytes:
    """Draw a set on its way: a row of images for each class, of small and bounded size.

    Args:
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,), or soft, float32 (M, K): each image then stands with the class that it
            gives most to.
        space: the input space of the images.

    Returns:
        A PNG, which says what it leaves out.
    """
    held = label_tensors(labels)["labels"].cpu().numpy()
    chosen = torch.from_numpy(shown_images(held, SNAPSHOT)).to(images.device)
    pixels = to_pixels(images.detach()[chosen].cpu(), space).numpy()
    return sheet_png(pixels, held, space.facts, SNAPSHOT)


def label_tensors(labels: Tensor) -> dict[str, Tensor]:
    """Give labels by the names that files have for them.

    Args:
        labels: int64 (M,), or soft, float32 (M, K).

    Returns:
        labels int64 (M,), and soft_labels float32 (M, K) where they are soft.
    """
    if labels.ndim == 1:
        return {"labels": labels}
    return {"labels": labels.argmax(1), "soft_labels": labels}


@dataclass(frozen=True, eq=False)
class StoredSet:
    """A distilled set as it was written.

    Attributes:
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,); with soft labels the class that each gives most to.
        soft_labels: float32 (M, K), rows adding up to 1; None where labels are hard.
    """

    images: Tensor
    labels: Tensor
    soft_labels: Tensor | None


def read_distilled_set(path: Path, facts: DatasetFacts) -> StoredSet:
    """Read images and labels back.

    Args:
        path: of a distilled_set.safetensors.
        facts: shape and classes the set has to have.

    Raises:
        InvalidDataError: the file does not hold such a set.
    """
    tensors = read_tensors(path)
    images, labels = tensors.get("images"), tensors.get("labels")
    if images is None or labels is None or images.shape[1:] != facts.image_shape:
        shapes = {key: tuple(value.shape) for key, value in tensors.items()}
        raise InvalidDataError(
            f"wanted images (M, *{facts.image_shape}) and labels (M,) in {path.name}; got {shapes}"
        )
    if not bool(images.isfinite().all()):
        raise InvalidDataError(f"wanted finite pixels in {path.name}; got NaN or infinities")
    if labels.shape != images.shape[:1] or not 0 <= int(labels.min()) <= int(labels.max()) < (
        facts.n_classes
    ):
        raise InvalidDataError(
            f"wanted one label 0 to {facts.n_classes - 1} an image in {path.name}; "
            f"got shape {tuple(labels.shape)}"
        )
    soft_labels = tensors.get("soft_labels")
    if soft_labels is not None and not _are_distributions(
        soft_labels, (len(images), facts.n_classes)
    ):
        raise InvalidDataError(
            f"wanted soft labels ({len(images)}, {facts.n_classes}) in {path.name}, none below 0 "
            f"and each row adding up to 1; got shape {tuple(soft_labels.shape)}"
        )
    return StoredSet(images, labels, soft_labels)


def _are_distributions(rows: Tensor, shape: tuple[int, int]) -> bool:
    if rows.shape != shape or not bool((rows >= 0).all()):
        return False
    return bool(((rows.sum(1) - 1).abs() < 1e-3).all())
