"""Distilled sets and models in the formats people load, and the way back.

A set's images are in network-input space, a calibrated program takes pixels in [0, 1]; each
manifest says which. Nothing here is pickled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.export import save as save_exported

from ddcal_core.errors import InvalidDataError
from ddcal_core.networks import ConvNet
from ddcal_core.pictures import sheet_png
from ddcal_core.specs import DatasetFacts, TrainSpec

SET_SPACE = (
    "network input: (pixel / 255 - mean) / std, channel by channel; 0 is the mean colour; feed to "
    "a network as it is"
)
PROGRAM_SPACE = "pixels: float32 in [0, 1], shape (N, C, H, W); normalisation is inside"


class CalibratedNetwork(nn.Module):
    """Pixels in, calibrated probabilities out: normalise, network, logits / T, softmax.

    Args:
        network: network-input space (N, C, H, W) -> logits (N, K).
        facts: mean and standard deviation of each channel.
        temperature: T > 0.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor

    def __init__(self, network: nn.Module, facts: DatasetFacts, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(facts.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts.std).view(1, -1, 1, 1))
        self.register_buffer("temperature", torch.tensor(temperature))

    def forward(self, pixels: Tensor) -> Tensor:
        """Give probabilities float32 (N, K) of pixels float32 (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return torch.softmax(logits / self.temperature, 1)


def export_program(network: nn.Module, facts: DatasetFacts) -> ExportedProgram:
    """Export a network with its normalisation and temperature 1 folded in.

    The example input is zeros, so that no image leaks into the file.

    Args:
        network: on the CPU, in evaluation mode.
        facts: image shape and normalisation.

    Returns:
        A program from pixels float32 (N, C, H, W) in [0, 1], any N >= 1, to probabilities (N, K).
    """
    example = torch.zeros(2, *facts.image_shape)
    wrapped = CalibratedNetwork(network, facts).eval().requires_grad_(False)
    return export(wrapped, (example,), dynamic_shapes=({0: Dim("N", min=1)},), strict=False)


def save_program(program: ExportedProgram, temperature: float, path: Path) -> None:
    """Write an exported program with another temperature in it.

    Exporting is slow and saving quick, so one export serves every calibration of a network.

    Args:
        program: from `export_program`; its temperature is replaced.
        temperature: T > 0, finite.
        path: of the .pt2 file.
    """
    program.state_dict["temperature"] = torch.tensor(temperature)
    save_exported(program, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON; a number that is not finite raises ValueError."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def write_distilled_set(
    folder: Path,
    images: Tensor,
    labels: Tensor,
    *,
    facts: DatasetFacts,
    provenance: Mapping[str, Any],
    learned_lr: float | None = None,
    compact: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Write distilled_set.safetensors, manifest.json, distilled_set.npz and preview.png.

    Args:
        folder: an existing folder.
        images: float32 (M, C, H, W), network-input space.
        labels: int64 (M,), or soft, float32 (M, K): then the files hold these as `soft_labels`, and
            as `labels` the class that each gives most to.
        facts: of the data set distilled.
        provenance: what the manifest says beside what is known here (dataset, split, spec, ...).
        learned_lr: the learning rate learned with the images, which training on them takes unless
            told otherwise.
        compact: the smaller form that the images are decoded from, by name: written as
            compact.safetensors.

    Returns:
        The manifest.
    """
    tensors = {"images": images, **label_tensors(labels)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    manifest = {
        "format": "ddcal distilled set 1",
        **provenance,
        "n_images": len(images),
        "space": SET_SPACE,
        **_facts_fields(facts),
        "tensors": _tensors_words(tensors),
        "learned_lr": learned_lr,
        "train_with": _train_with(learned_lr),
        "how_to_load": {
            "safetensors": "safetensors.torch.load_file('distilled_set.safetensors')",
            "npz": "numpy.load('distilled_set.npz', allow_pickle=False)",
            "back_to_pixels": "images * std + mean, per channel; 0 black, 1 white",
        },
    }
    if compact:
        smaller = {name: value.detach().cpu().contiguous() for name, value in compact.items()}
        manifest["compact"] = {
            name: f"{_dtype_name(value)} {tuple(value.shape)}" for name, value in smaller.items()
        }
        save_file(smaller, folder / "compact.safetensors")
    save_file(tensors, folder / "distilled_set.safetensors")
    arrays: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
    np.savez(
        folder / "distilled_set.npz",
        **arrays,
        mean=np.array(facts.mean, np.float32),
        std=np.array(facts.std, np.float32),
        class_names=np.array(facts.class_names, np.str_),
    )
    (folder / "preview.png").write_bytes(sheet_png(tensors["images"], tensors["labels"], facts))
    write_json(folder / "manifest.json", manifest)
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
    }
    return {
        name: f"{_dtype_name(value)} {tuple(value.shape)}, {meanings[name]}"
        for name, value in tensors.items()
    }


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _train_with(learned_lr: float | None) -> dict[str, Any]:
    spec = TrainSpec().with_learned_lr(learned_lr)
    return {"augmentation": "none", **spec.model_dump(exclude={"n_seeds"})}


def _facts_fields(facts: DatasetFacts) -> dict[str, Any]:
    """Give what a user needs at the top level, and all facts for reading back."""
    dumped = facts.model_dump(mode="json")
    top = {key: dumped[key] for key in ("image_shape", "class_names", "mean", "std")}
    return {**top, "facts": dumped}


def facts_of(manifest: Mapping[str, Any]) -> DatasetFacts:
    """Read the data set's facts back from a manifest or a model's config.

    Raises:
        ValueError: they are missing or are no facts.
    """
    return DatasetFacts.model_validate_json(json.dumps(manifest.get("facts")))


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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        InvalidDataError: it is none.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InvalidDataError(f"wanted a safetensors file in {path.name}; got: {error}") from error


def write_model(
    folder: Path, network: nn.Module, *, facts: DatasetFacts, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Write model.safetensors (the network's parameters) and config.json.

    Args:
        folder: an existing folder.
        network: on any device.
        facts: of the data set it was trained on.
        provenance: what the config says beside the facts; `network` among it.

    Returns:
        The config.
    """
    config = {
        "format": "ddcal model 1",
        **provenance,
        "space": SET_SPACE,
        "output": "logits (N, K), one a class name",
        **_facts_fields(facts),
    }
    weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    write_json(folder / "config.json", config)
    return config


def read_model(path: Path, config: Mapping[str, Any]) -> ConvNet:
    """Rebuild a network from its parameters and config.

    Args:
        path: of a model.safetensors.
        config: its config.json.

    Returns:
        The network on the CPU, in evaluation mode.

    Raises:
        InvalidDataError: the parameters are not those of that network.
    """
    facts = facts_of(config)
    shape = config["network"]
    n_channels, height, width = facts.image_shape
    network = ConvNet(n_channels, facts.n_classes, (height, width), shape["width"], shape["depth"])
    try:
        network.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise InvalidDataError(
            f"wanted the parameters of {shape} in {path.name}; {error}"
        ) from error
    return network.eval()


def calibrated_config(config: Mapping[str, Any], calibration: Mapping[str, Any]) -> dict[str, Any]:
    """Give the config.json of a calibrated model: the model's own, and what was fitted.

    Args:
        config: of the model.
        calibration: its values; `temperature` is null where no finite positive one exists.
    """
    has_temperature = calibration["temperature"] is not None
    return {
        **config,
        "format": "ddcal calibrated model 1",
        "temperature": calibration["temperature"],
        "calibration": dict(calibration),
        "how_to_use": {
            "model.safetensors": "logits = network((pixels - mean) / std); "
            "probabilities = softmax(logits / temperature)",
            "calibrated_model.pt2": (
                "torch.export.load('calibrated_model.pt2').module()(pixels) -> probabilities; "
                + PROGRAM_SPACE
            )
            if has_temperature
            else "none: no finite positive temperature exists, so there is no program to run",
        },
    }
