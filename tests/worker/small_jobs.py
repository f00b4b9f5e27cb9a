"""Small data sets and jobs for tests of the trainer's side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ddcal_core.progress import ProgressCallback, ignore_progress
from ddcal_core.specs.facts import DatasetFacts
from worker.supervisor.recipes import computation_of
from worker.trainer.inputs import Task
from worker.trainer.kinds import COMPUTATIONS
from worker.trainer.outputs import Output

CLASS_NAMES = ("cat & dog", "<b>bold</b>", "Ärger")
N_TRAIN_EACH, N_TEST_EACH = 30, 20


def write_dataset(
    folder: Path, *, n_train_each: int = N_TRAIN_EACH, n_test_each: int = N_TEST_EACH
) -> dict[str, Any]:
    """Write 3 classes of noisy 8 x 8 images as an upload's tensors; give the DatasetInput."""
    generator = torch.Generator().manual_seed(5)
    prototypes = torch.rand(3, 1, 8, 8, generator=generator) * 160 + 40
    paths = {}
    for part, n_each in (("train", n_train_each), ("test", n_test_each)):
        labels = torch.arange(3).repeat(n_each)
        noise = torch.randn(len(labels), 1, 8, 8, generator=generator) * 55
        images = (prototypes[labels] + noise).clamp(0, 255).round().to(torch.uint8)
        paths[part] = folder / f"{part}.safetensors"
        save_file({"images": images, "labels": labels}, paths[part])
        if part == "train":
            pixels = images.double() / 255
    facts = DatasetFacts(
        image_shape=(1, 8, 8),
        class_names=CLASS_NAMES,
        train_class_counts=(n_train_each,) * 3,
        test_class_counts=(n_test_each,) * 3,
        mean=(float(pixels.mean()),),
        std=(float(pixels.std()),),
    )
    return {
        "name": "small",
        "facts": facts.model_dump(mode="json"),
        "source": "upload",
        "named_folder": str(folder),
        "allow_downloads": False,
        "train_path": str(paths["train"]),
        "test_path": None,
    }


def run_kind(
    kind: str,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    folder: Path,
    on_progress: ProgressCallback = ignore_progress,
) -> list[Output]:
    """Run a kind in this process."""
    folder.mkdir(parents=True)
    task = Task(params, inputs, folder, torch.device("cpu"), on_progress)
    return COMPUTATIONS[computation_of(kind, params)](task)


def distill_params(**changes: Any) -> dict[str, Any]:
    """Params of a distillation that takes a fraction of a second."""
    spec = {"images_per_class": 2, "iterations": 3, "width": 4, "depth": 2, "batch_real": 8}
    selection = {"n_evaluations": 1, "epochs": 5}
    return {
        "dataset": "small",
        "seed": 1,
        "distill": {**spec, "mask": {"ratio": 0.25}, "selection": selection, **changes},
    }


def train_params(training_set: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Params of a training that takes a fraction of a second."""
    spec = {"width": 4, "depth": 2, "n_seeds": 2, "epochs": 60, "lr": 0.2, **changes}
    dataset = None if training_set["source"] == "distilled" else "small"
    return {"training_set": dict(training_set), "dataset": dataset, "seed": 1, "train": spec}


def file_of(output: Output, name: str) -> Path:
    """The output's file of that name."""
    return next(path for path in output.files if path.name == name)


def set_input(output: Output, set_id: str = "set_" + "a" * 26) -> dict[str, Any]:
    """A distilled set as the supervisor hands it on."""
    path = file_of(output, "distilled_set.safetensors")
    return {"id": set_id, "path": str(path), "manifest": dict(output.values)}


def model_input(output: Output, model_id: str) -> dict[str, Any]:
    """A model as the supervisor hands it on."""
    files = {path.name: str(path) for path in output.files}
    return {
        "id": model_id,
        "path": files["model.safetensors"],
        "config": dict(output.values),
        "input_space_path": files.get("input_space.safetensors"),
    }
