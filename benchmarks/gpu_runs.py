"""What a GPU is asked first: step times of all methods, then distilled sets at published numbers.

    python -m benchmarks.gpu_runs --make-data cifar10_jpeg.zip cifar10.npz     # once, at most 30 MB
    python -m benchmarks.gpu_runs cifar10.npz OUT [--device cuda] [--iterations 1000]

Needs ddcal_core alone (torch, pydantic, safetensors, numpy; Pillow for --make-data), from source.
Each part is written into OUT as it ends, so that a machine taken away leaves what was done:

    steps.json      seconds of a step of dm, dc, dsa, rtp and mtt, 1 image per class, width 128
    dc-MASK/        DC, 1 image per class, masks 0, 0.1, 0.3 and 0.5 side by side on one device
    dm-MASK/        DM, 10 images per class, masks 0 and 0.3 side by side

A set is `set.safetensors` (images in standardised space, labels) with `run.json` beside it, as
`ddcal upload-set NAME set.safetensors --dataset ... --space standardised` takes it. Rehearsed on a
CPU with --iterations 5 --width 8; training and calibration of what it makes need no GPU.
"""

import argparse
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, multiprocessing

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import Standard, enter
from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.experts import ExpertSet, ExpertTraining, record_experts
from ddcal_core.distillation.loop import distill
from ddcal_core.distillation.method import DistillationMethod
from ddcal_core.distillation.mtt import TrajectoryMatching
from ddcal_core.distillation.rtp import RememberingThePast
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.dsa import DsaSpec
from ddcal_core.specs.methods.mtt import MttSpec
from ddcal_core.specs.methods.rtp import RtpSpec

DATASET, PER_CLASS = "cifar10", 950
FACTS = NAMED_DATASETS[DATASET]
WARM_UP, TIMED = 2, 5
DC_MASKS, DM_MASKS = (0.0, 0.1, 0.3, 0.5), (0.0, 0.3)
Labelled = tuple[Tensor, Tensor]


def make_data(source: Path, target: Path) -> None:
    """Cut a zip of class folders (train/CLASS/*.jpg) to 950 images per class, uint8 NCHW."""
    from PIL import Image  # noqa: PLC0415  the machine with the GPU may have none

    images, labels = [], []
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if "train/" in name)
        for label, word in enumerate(FACTS.class_names):
            own = [name for name in names if f"/{word}/" in name and not name.endswith("/")]
            for name in own[:PER_CLASS]:
                with Image.open(io.BytesIO(archive.read(name))) as picture:
                    images.append(np.asarray(picture.convert("RGB")).transpose(2, 0, 1))
                labels.append(label)
    if len(labels) < PER_CLASS * FACTS.n_classes:
        raise ValueError(f"wanted {PER_CLASS} images of each class in {source}, got fewer")
    np.savez_compressed(target, images=np.stack(images), labels=np.array(labels))


def read_data(path: Path, device: str) -> Labelled:
    """Images in network-input space and labels, on a device."""
    held = np.load(path)
    pixels, labels = torch.from_numpy(held["images"]), torch.from_numpy(held["labels"]).long()
    return enter(Standard(FACTS), pixels).to(device), labels.to(device)


def params_of(spec: Mapping[str, Any]) -> DistillParams:
    """A spec with its preset's numbers filled in."""
    experts = {"experts": "exp_" + "0" * 26} if spec["method"] == "mtt" else {}
    return DistillParams.model_validate({"dataset": DATASET, "distill": dict(spec), **experts})


def method_of(params: DistillParams, real: Labelled, folder: Path) -> DistillationMethod:
    """The method on real images; of mtt two short experts, too, recorded into a folder."""
    spec = params.distill
    match spec:
        case DmSpec():
            return DistributionMatching(*real, spec, FACTS, seed=params.seed)
        case DcSpec() | DsaSpec():
            return GradientMatching(*real, spec, FACTS, seed=params.seed)
        case RtpSpec():
            return RememberingThePast(*real, spec, FACTS, seed=params.seed)
        case MttSpec():
            path = folder / "experts.safetensors"
            few = spec.experts_to_imitate().model_copy(update={"n_experts": 1})
            record_experts(path, ExpertTraining(*real, few, FACTS, params.seed), {})
            return TrajectoryMatching(*real, spec, FACTS, seed=params.seed, experts=ExpertSet(path))


def step_seconds(spec: Mapping[str, Any], real: Labelled) -> float:
    """The time of a step, after a few that are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        method = method_of(params_of(spec), real, Path(folder))
        state = method.initial_state()
        for step in range(WARM_UP):
            method.step(state, step, lr_scale=1.0)
        _finish(real[0].device)
        started = time.perf_counter()
        for step in range(WARM_UP, WARM_UP + TIMED):
            method.step(state, step, lr_scale=1.0)
        _finish(real[0].device)
        return (time.perf_counter() - started) / TIMED


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_set(data: Path, device: str, spec: Mapping[str, Any], folder: Path) -> None:
    """Distil one set and write it, with what made it."""
    params, real = params_of(spec), read_data(data, device)
    with tempfile.TemporaryDirectory() as scratch:
        method = method_of(params, real, Path(scratch))
        outcome = distill(method, n_steps=params.distill.iterations, selection=None)
    folder.mkdir(parents=True, exist_ok=True)
    made = outcome.distilled
    tensors = {"images": made.images.cpu().contiguous(), "labels": made.labels.cpu().contiguous()}
    save_file(tensors, folder / "set.safetensors")
    told = {
        **versions(device),
        "params": params.model_dump(mode="json"),
        "n_real_images": len(real[1]),
        "n_steps": outcome.n_steps,
        "n_rollbacks": outcome.n_rollbacks,
        "seconds": round(outcome.seconds, 1),
    }
    (folder / "run.json").write_text(json.dumps(told, indent=1))


def side_by_side(
    data: Path, device: str, specs: Mapping[str, Mapping[str, Any]], out: Path
) -> list[str]:
    """One process a set, all on one device; gives the names of those that failed."""
    spawning = multiprocessing.get_context("spawn")
    running = {
        name: spawning.Process(target=make_set, args=(data, device, spec, out / name))
        for name, spec in specs.items()
    }
    for process in running.values():
        process.start()
    for process in running.values():
        process.join()
    return [name for name, process in running.items() if process.exitcode != 0]


def versions(device: str) -> dict[str, str]:
    """What computed."""
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"python": sys.version.split()[0], "torch": torch.__version__, "device": card}


def time_steps(data: Path, device: str, width: int, out: Path) -> None:
    """Write the seconds of a step of each method, one after the other."""
    real, found = read_data(data, device), {}
    for method in ("dm", "dc", "dsa", "rtp", "mtt"):
        spec = {"method": method, "images_per_class": 1, "width": width, "batch_real": 256}
        if method in ("rtp", "mtt"):
            del spec["batch_real"]
        found[method] = round(step_seconds(spec, real), 5)
        told = {**versions(device), "seconds_a_step": found}
        (out / "steps.json").write_text(json.dumps(told, indent=1))
        print(f"{method:4} {found[method]:9.5f} s a step", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts in turn; exit status 1 where a set failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--make-data", action="store_true", help="data is a zip, out the cut.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--iterations", type=int, default=1_000)
    parser.add_argument("--width", type=int, default=128, help="Less, to rehearse.")
    asked = parser.parse_args(arguments)
    if asked.make_data:
        make_data(asked.data, asked.out)
        return 0
    print(versions(asked.device), flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    time_steps(asked.data, asked.device, asked.width, asked.out)
    published = {"preset": "published", "iterations": asked.iterations, "width": asked.width}
    dc = {
        f"dc-{mask}": {"method": "dc", "images_per_class": 1, "mask": {"ratio": mask}, **published}
        for mask in DC_MASKS
    }
    dm = {
        f"dm-{mask}": {"method": "dm", "images_per_class": 10, "mask": {"ratio": mask}, **published}
        for mask in DM_MASKS
    }
    failed = side_by_side(asked.data, asked.device, dc, asked.out)
    failed += side_by_side(asked.data, asked.device, dm, asked.out)
    print(f"failed: {', '.join(failed) or 'none'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
