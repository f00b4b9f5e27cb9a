"""What a data set costs in memory while it is taken in and while jobs use it.

    python -m benchmarks.data_memory [--images 60000] [--zip PATH] [--jobs intake distil full ...]

Each job runs twice in a process of its own, on images of CIFAR-10's size, five parts to train on
and one to test on: on a few, for what interpreter, libraries and network take, and on all. What
the second peak lies above the first, over the bytes of the images that the job reads, is the
multiple told. Images are random; `--zip` has the intake read a zip of your own instead.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

N_FEW, SIDE, N_CHANNELS, N_CLASSES = 1_200, 32, 3, 10
IMAGE_BYTES = SIDE * SIDE * N_CHANNELS
NETWORK = {"width": 4, "depth": 2}
ZCA = {"input_space": {"name": "zca", "eps": 0.1}}
# From a name to kind and params, to be laid over those that all jobs of the kind have.
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "distil": ("distill", {}),
    "distil zca": ("distill", ZCA),
    "experts": ("experts", {}),
    "random": ("train", {"training_set": {"source": "random", "images_per_class": 50}}),
    "herding": ("train", {"training_set": {"source": "herding", "images_per_class": 10}}),
    "full": ("train", {"training_set": {"source": "full"}}),
    "calibrate": ("calibrate", {}),
    "evaluate": ("evaluate", {}),
}


def peak_bytes() -> int:
    """Most memory that this process has had resident so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    assert found is not None
    return 1024 * int(found[1])


def n_train_of(n_images: int) -> int:
    """How many of the images are to train on."""
    return n_images * 5 // 6 // N_CLASSES * N_CLASSES


def write_zip(path: Path, n_images: int) -> None:
    """PNG files in folders of their part and class, each colour noise around one of its own."""
    from PIL import Image  # noqa: PLC0415

    generator, n_train = np.random.default_rng(0), n_train_of(n_images)
    with zipfile.ZipFile(path, "w") as file:
        for k in range(n_images):
            part = "train" if k < n_train else "test"
            pixels = generator.integers(0, 256, (SIDE, SIDE, N_CHANNELS), np.uint8)
            with file.open(f"{part}/{k % N_CLASSES}/{k}.png", "w") as entry:
                Image.fromarray(pixels).save(entry, "PNG", compress_level=0)


def write_tensors(folder: Path, n_images: int) -> dict[str, Any]:
    """Random images as the intake leaves them; gives the trainer's input."""
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    n_train = n_train_of(n_images)
    counts = {"train": n_train, "test": (n_images - n_train) // N_CLASSES * N_CLASSES}
    for part, n in counts.items():
        images = torch.randint(0, 256, (n, N_CHANNELS, SIDE, SIDE), dtype=torch.uint8)
        labels = torch.arange(n) % N_CLASSES
        save_file({"images": images, "labels": labels}, folder / f"{part}.safetensors")
    return {
        "name": "random",
        "facts": {
            "image_shape": [N_CHANNELS, SIDE, SIDE],
            "class_names": [str(k) for k in range(N_CLASSES)],
            "train_class_counts": [counts["train"] // N_CLASSES] * N_CLASSES,
            "test_class_counts": [counts["test"] // N_CLASSES] * N_CLASSES,
            "mean": [0.5] * N_CHANNELS,
            "std": [0.29] * N_CHANNELS,
        },
        "source": "upload",
        "train_path": str(folder / "train.safetensors"),
        "test_path": str(folder / "test.safetensors"),
    }


def run_job(name: str, dataset: Mapping[str, Any], folder: Path) -> None:
    """Run a job of the trainer in this process, and whatever has to be there before it."""
    kind, changes = JOBS[name]
    data = {"dataset": "random", "seed": 0}
    train = {**NETWORK, "n_seeds": 1, "epochs": 1}
    common = {"models": ["mdl_" + "a" * 26], "seed": 0}
    match kind:
        case "distill":
            spec = {"images_per_class": 1, "iterations": 2, "batch_real": 32, **NETWORK}
            params = {**data, "distill": {**spec, "selection": {"n_evaluations": 1, "epochs": 1}}}
            compute("distill", params | changes, {"dataset": dataset}, folder)
        case "experts":
            spec = {"n_experts": 1, "epochs": 1, **NETWORK}
            compute("experts", {**data, "experts": spec}, {"dataset": dataset}, folder)
        case "train":
            compute("train", {**data, "train": train, **changes}, {"dataset": dataset}, folder)
        case "calibrate" | "evaluate":
            few = {"training_set": {"source": "random", "images_per_class": 10}}
            (made,) = compute(
                "train", {**data, "train": train, **few}, {"dataset": dataset}, folder
            )
            model = {"id": "mdl_0", "path": str(made.files[0]), "config": dict(made.values)}
            inputs = {"dataset": dataset, "models": [model], "distilled_sets": {}}
            ts = {"method": "ts", "fit_on": "validation"}
            mts = {"method": "mts", "fit_on": "validation", "mask": {"ratio": 0.5}}
            if kind == "calibrate":
                compute(kind, {**common, "calibrate": [ts, mts]}, inputs, folder)
            else:
                params = {"calibrations": ["cal_" + "a" * 26], "seed": 0}
                params["evaluate"] = {"mts_ratios": []}
                compute(kind, params, {**inputs, "calibrations": []}, folder)


def compute(
    kind: str, params: Mapping[str, Any], inputs: Mapping[str, Any], folder: Path
) -> list[Any]:
    """Run a kind as the trainer does."""
    import torch  # noqa: PLC0415

    from worker.trainer.inputs import Task  # noqa: PLC0415
    from worker.trainer.kinds import COMPUTATIONS  # noqa: PLC0415

    own = folder / kind
    own.mkdir()
    return COMPUTATIONS[kind](Task(params, inputs, own, torch.device("cpu"), lambda _: None))


def take_in_zip(path: Path, folder: Path) -> None:
    """Run the intake in this process."""
    from ddcal_core.intake.process import take_in  # noqa: PLC0415

    take_in(path, folder, 2**40)


def peak_of(name: str, n_images: int, own_zip: Path | None) -> tuple[int, float]:
    """Peak memory, in bytes, and seconds of a job in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = own_zip or Path(folder) / "images.zip"
        if name == "intake" and own_zip is None:
            write_zip(path, n_images)
        if name != "intake":
            in_process("write", name, str(n_images), folder)
        started = time.monotonic()
        peak = in_process("run", name, str(n_images), folder, str(path))
        return peak, time.monotonic() - started


def in_process(*words: str) -> int:
    """Do a step in a fresh process; give its peak."""
    argv = [sys.executable, "-m", "benchmarks.data_memory", "--step", *words]
    return int(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)


def do_step(step: str, name: str, n_images: int, folder: Path, *path: str) -> None:
    """What a fresh process is for; prints its peak."""
    import json  # noqa: PLC0415

    told = folder / "dataset.json"
    if step == "write":
        told.write_text(json.dumps(write_tensors(folder, n_images)), encoding="utf-8")
    elif name == "intake":
        take_in_zip(Path(path[0]), folder)
    else:
        run_job(name, json.loads(told.read_text("utf-8")), folder)
    print(peak_bytes())


def main() -> None:
    """Measure and print a row for each job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--zip", type=Path, help="for the intake; of so many images")
    parser.add_argument("--jobs", nargs="+", default=["intake", *JOBS], choices=["intake", *JOBS])
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, name, n_images, folder, *path = options.step
        do_step(step, name, int(n_images), Path(folder), *path)
        return
    print("job          images read    peak few     peak all     above it  multiple   seconds")
    for name in options.jobs:
        few, _ = peak_of(name, N_FEW, None)
        peak, seconds = peak_of(name, options.images, options.zip)
        reads_all = name in ("intake", "evaluate")
        n_more = options.images - N_FEW
        n_bytes = IMAGE_BYTES * (n_more if reads_all else n_train_of(n_more))
        print(
            f"{name:12} {n_bytes / 1e6:8.0f} MB {few / 1e6:8.0f} MB  {peak / 1e6:8.0f} MB  "
            f"{(peak - few) / 1e6:8.0f} MB  {(peak - few) / n_bytes:8.2f}  {seconds:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
