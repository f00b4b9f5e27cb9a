"""The files of a distilled set, written from arrays (NumPy, Pillow; no torch).

`sets` writes those that are distilled here, `intake` those that come in.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ddcal_core.formats.manifests import DescribedSpace, SetManifest, SetProvenance
from ddcal_core.formats.pictures import sheet_png
from ddcal_core.formats.records import write_json
from ddcal_core.specs.training import TrainSpec

_MEANINGS = {
    "images": "network-input space",
    "labels": "index into class_names",
    "soft_labels": "a probability of each class",
    "input_space.mean": "of each feature C H W of pixels in [0, 1]",
    "input_space.matrix": "as `space` says; symmetric",
}


def write_set_files(
    folder: Path,
    arrays: Mapping[str, NDArray[Any]],
    pixels: NDArray[np.uint8],
    *,
    described: DescribedSpace,
    provenance: SetProvenance,
    learned_lr: float | None = None,
    compact: Mapping[str, NDArray[Any]] | None = None,
) -> SetManifest:
    """Write distilled_set.safetensors, manifest.json, distilled_set.npz and preview.png.

    Args:
        folder: an existing folder.
        arrays: images float32 (M, C, H, W), labels int64 (M,); of soft labels also soft_labels
            float32 (M, K); of a whitened space what it is made of.
        pixels: the images to look at, uint8 (M, C, H, W).
        described: the input space of the images, with the facts of the data set distilled.
        provenance: how the set was made.
        learned_lr: the learning rate learned with the images; None where none was.
        compact: what the smaller form holds that the images are decoded from, where there is one.

    Returns:
        The manifest.
    """
    manifest = SetManifest(
        **dict(provenance),
        **dict(described),
        n_images=len(arrays["images"]),
        tensors={name: f"{_shape(one)}, {_MEANINGS[name]}" for name, one in arrays.items()},
        learned_lr=learned_lr,
        train_with=_train_with(learned_lr),
        how_to_load={
            "safetensors": "safetensors.torch.load_file('distilled_set.safetensors')",
            "npz": "numpy.load('distilled_set.npz', allow_pickle=False)",
            "back_to_pixels": described.input_space.way_back,
        },
        compact={name: _shape(one) for name, one in compact.items()} if compact else None,
    )
    save_file(dict(arrays), folder / "distilled_set.safetensors")
    facts = described.facts
    held: dict[str, Any] = dict(arrays)
    np.savez(
        folder / "distilled_set.npz",
        **held,
        mean=np.array(facts.mean, np.float32),
        std=np.array(facts.std, np.float32),
        class_names=np.array(facts.class_names, np.str_),
    )
    (folder / "preview.png").write_bytes(sheet_png(pixels, arrays["labels"], facts))
    write_json(folder / "manifest.json", manifest.as_json())
    return manifest


def set_files(folder: Path) -> tuple[Path, ...]:
    """Give the paths of all that has been written of a set into a folder."""
    names = ("distilled_set.safetensors", "manifest.json", "distilled_set.npz", "preview.png")
    compact = folder / "compact.safetensors"
    return (*(folder / name for name in names), *((compact,) if compact.exists() else ()))


def _shape(array: NDArray[Any]) -> str:
    return f"{array.dtype} {array.shape}"


def _train_with(learned_lr: float | None) -> dict[str, Any]:
    spec = TrainSpec().with_learned_lr(learned_lr)
    return spec.model_dump(mode="json", exclude={"n_seeds"}, exclude_none=True)
