"""Distilled sets in the formats people load, and the way back.

Images are in network-input space; the manifest says which, and whitened ones bring the matrix
along. Nothing here is pickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from ddcal_core.data.input_space import InputSpace, space_tensors
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.manifests import SetManifest, SetProvenance
from ddcal_core.formats.models import described_space, read_tensors, write_json
from ddcal_core.formats.pictures import sheet_png
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import TrainSpec


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
    manifest = SetManifest(
        **dict(provenance),
        **dict(described_space(space)),
        n_images=len(images),
        tensors=_tensors_words(tensors),
        learned_lr=learned_lr,
        train_with=_train_with(learned_lr),
        how_to_load={
            "safetensors": "safetensors.torch.load_file('distilled_set.safetensors')",
            "npz": "numpy.load('distilled_set.npz', allow_pickle=False)",
            "back_to_pixels": space.way_back,
        },
        compact=_shapes(smaller) if smaller else None,
    )
    if smaller:
        save_file(smaller, folder / "compact.safetensors")
    save_file(tensors, folder / "distilled_set.safetensors")
    facts = space.facts
    arrays: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
    np.savez(
        folder / "distilled_set.npz",
        **arrays,
        mean=np.array(facts.mean, np.float32),
        std=np.array(facts.std, np.float32),
        class_names=np.array(facts.class_names, np.str_),
    )
    (folder / "preview.png").write_bytes(sheet_png(tensors["images"], tensors["labels"], space))
    write_json(folder / "manifest.json", manifest.as_json())
    return manifest


def set_files(folder: Path) -> tuple[Path, ...]:
    """Give the paths of all that `write_distilled_set` has written into a folder."""
    names = ("distilled_set.safetensors", "manifest.json", "distilled_set.npz", "preview.png")
    compact = folder / "compact.safetensors"
    return (*(folder / name for name in names), *((compact,) if compact.exists() else ()))


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


def _tensors_words(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    meanings = {
        "images": "network-input space",
        "labels": "index into class_names",
        "soft_labels": "a probability of each class",
        "input_space.mean": "of each feature C H W of pixels in [0, 1]",
        "input_space.matrix": "as `space` says; symmetric",
    }
    return {
        name: f"{_dtype_name(value)} {tuple(value.shape)}, {meanings[name]}"
        for name, value in tensors.items()
    }


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: f"{_dtype_name(value)} {tuple(value.shape)}" for name, value in tensors.items()}


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _train_with(learned_lr: float | None) -> dict[str, Any]:
    spec = TrainSpec().with_learned_lr(learned_lr)
    return spec.model_dump(mode="json", exclude={"n_seeds"}, exclude_none=True)


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
