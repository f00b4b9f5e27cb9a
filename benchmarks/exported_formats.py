"""Sets made elsewhere, in and out again in every format, with the service's numbers beside our own.

    python -m benchmarks.exported_formats

Files in the structure that DC's and MTT's own code saves (1 and 10 images per class, several
experiments) are imported; networks are trained on them, calibrated and reported; every result is
downloaded in every format and read by the library that it is for. What was read of a set is
trained on again, what was read of a network classifies the test images here: accuracy and
calibration error are computed with NumPy from what came out. The service is started for it.
"""

import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet
import torch
import webdataset
from datasets import load_dataset
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from benchmarks.peer_readers import image_folder
from ddcal.client import Client
from ddcal.handles import Job, Result

DATASET, N_TRAIN, N_BINS = "digits-here", 1_297, 15
IMAGES_PER_CLASS, SEEDS = (1, 10), (0, 1)
DISTILL = {"method": "dm", "iterations": 200, "width": 32, "depth": 2}
TRAIN = {"network": "convnet", "width": 32, "depth": 2, "n_seeds": 1, "epochs": 200}
CALIBRATE = [{"method": "none"}, {"method": "ts", "fit_on": "validation"}]
EXACT, ROUNDED = "exact", "to half a grey level"

Arrays = dict[str, NDArray[Any]]
Numbers = tuple[float, float]
"""Accuracy and ECE, both in [0, 1]."""


@dataclass(frozen=True)
class Chain:
    """An imported set and what was made from it.

    Attributes:
        arrays: images and labels as they stood in the imported file.
        made: the set, the network, its calibration and the report, by what they are.
        before: the service's numbers of the network as it is.
        after: likewise under temperature scaling.
    """

    arrays: Arrays
    made: dict[str, Result]
    before: Numbers
    after: Numbers


@contextlib.contextmanager
def running_service(folder: Path) -> Iterator[Client]:
    """A client of `ddcal serve` on a free port, with this data folder."""
    argv = [
        sys.executable,
        "-P",
        "-m",
        "ddcal.cli",
        "serve",
        "--data-folder",
        folder,
        "--port",
        "0",
    ]
    environment = {**os.environ, "DDCAL_NO_KEY": "1"}
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            while not (folder / "address").exists():
                time.sleep(0.2)
            with Client((folder / "address").read_text()) as client:
                yield client
        finally:
            process.terminate()


def digits() -> Arrays:
    """scikit-learn's digits, cut into training and test images by a fixed permutation."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = np.random.RandomState(0).permutation(len(labels))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return {
        "x_train": images[train], "y_train": labels[train].astype(np.int64),
        "x_test": images[test], "y_test": labels[test].astype(np.int64),
    }  # fmt: skip


def save_as_dc(path: Path, sets: list[Arrays]) -> None:
    """What main.py of DC, DSA and DM saves after its last experiment."""
    data = [[torch.tensor(one["images"]), torch.tensor(one["labels"])] for one in sets]
    accuracies = {"ConvNet": [np.float64(0.5) for _ in sets]}
    torch.save({"data": data, "accs_all_exps": accuracies}, path)


def save_as_mtt(folder: Path, one: Arrays) -> tuple[Path, Path]:
    """The two files that distill.py of MTT saves."""
    folder.mkdir()
    paths = folder / "images_best.pt", folder / "labels_best.pt"
    torch.save(torch.tensor(one["images"]), paths[0])
    torch.save(torch.tensor(one["labels"]), paths[1])
    return paths


def official_files(
    client: Client, folder: Path
) -> Iterator[tuple[str, Path | tuple, list[Arrays]]]:
    """Files in the official structures, of sets that the service distils; and what is in them."""
    for images_per_class in IMAGES_PER_CLASS:
        spec = {**DISTILL, "images_per_class": images_per_class}
        jobs = [client.submit("distill", dataset=DATASET, seed=s, distill=spec) for s in SEEDS]
        sets = [_arrays_of(job, folder / f"{images_per_class}-{job.id}") for job in jobs]
        path = folder / f"res_DM_digits_ConvNet_{images_per_class}ipc.pt"
        save_as_dc(path, sets)
        yield f"dc{images_per_class}", path, sets
        yield (
            f"mtt{images_per_class}",
            save_as_mtt(folder / f"mtt{images_per_class}", sets[0]),
            sets[:1],
        )


def _arrays_of(job: Job, folder: Path) -> Arrays:
    (made,) = job.wait().results
    (path,) = made.download(folder, format="npz")
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in ("images", "labels")}


def imported(client: Client, name: str, source: Any, n_sets: int) -> Result:  # noqa: ANN401
    """The last set of a file that was made elsewhere."""
    job = client.upload_sets(name, source, dataset=DATASET, space="standardised").wait()
    return {one.record.name: one for one in job.results}[name if n_sets == 1 else f"{name}-1"]


def chain(client: Client, distilled: Result, arrays: Arrays) -> Chain:
    """Train on a set, calibrate and report; nothing is taken from an earlier job."""
    source = {"source": "distilled", "distilled_set": distilled.id}
    trained = client.submit("train", training_set=source, train=TRAIN, reuse=False)
    fitted = client.submit("calibrate", models=[trained.id], calibrate=CALIBRATE, reuse=False)
    evaluate = {"n_bins": N_BINS, "mts_ratios": []}
    measured = client.submit("evaluate", calibrations=[fitted.id], evaluate=evaluate, reuse=False)
    (report,) = measured.wait().results
    (model,) = trained.refresh().results
    scaled = next(one for one in fitted.refresh().results if one.record.method == "ts")
    rows = {row["method"]: row for row in report.record.details["rows"]}
    numbers = {
        method: (row["accuracy"]["mean"], row["ece"]["mean"]) for method, row in rows.items()
    }
    made = {"distilled_set": distilled, "model": model, "calibration": scaled, "report": report}
    return Chain(arrays, made, numbers["none"], numbers["ts"])


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_service(folder / "service") as client:
            data = digits()
            client.upload(DATASET, data).wait()
            chains = {}
            for word, source, sets in official_files(client, folder):
                distilled = imported(client, word, source, len(sets))
                chains[word] = chain(client, distilled, sets[-1])
            print(f"| | Read by | Values | {' | '.join(map(_title, chains))} |")
            print(f"|---|---|---|{'---|' * len(chains)}")
            _print_sets(client, chains, folder / "sets")
            _print_networks(chains, data, folder / "networks")
            _print_reports(chains, folder / "reports")


def _title(word: str) -> str:
    return f"{word.rstrip('01').upper()}, {word.lstrip('dcmt')} a class"


def _print_line(cells: list[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _words(here: Numbers, service: Numbers | None = None) -> str:
    """Accuracy and ECE in percent; = where they are the service's, to a millionth."""
    is_same = service is not None and np.allclose(here, service, rtol=0, atol=1e-6)
    return f"{'= ' if is_same else ''}{100 * here[0]:.2f} / {100 * here[1]:.3f}"


def _print_sets(client: Client, chains: Mapping[str, Chain], folder: Path) -> None:
    service = [_words(one.after) for one in chains.values()]
    _print_line(["**Networks trained on the imported set**", "the service", "", *service])
    for word, (library, read) in SET_READERS.items():
        cells, values = [], set()
        for name, one in chains.items():
            into = folder / f"{name}-{word}"
            (path,) = one.made["distilled_set"].download(into, format=word)
            arrays = read(path, into, one.made["distilled_set"].record.details)
            values.add(_closeness(arrays, one))
            back = client.upload_sets(
                f"{name}-{word}", arrays, dataset=DATASET, space="standardised"
            )
            (again,) = back.wait().results
            cells.append(_words(chain(client, again, arrays).after, one.after))
        _print_line([f"on what was read of `{word}`", library, ", ".join(sorted(values)), *cells])


def _closeness(arrays: Arrays, one: Chain) -> str:
    """How near what was read is to what stood in the imported file; fails where it is neither."""
    assert np.array_equal(arrays["labels"], one.arrays["labels"])
    if np.array_equal(arrays["images"], one.arrays["images"]):
        return EXACT
    details = one.made["distilled_set"].record.details
    mean, std = details["mean"][0], details["std"][0]
    pixels = np.clip(one.arrays["images"] * std + mean, 0, 1)
    off = np.abs(arrays["images"] * std + mean - pixels).max()
    assert off <= 0.5 / 255 + 1e-6, off
    return ROUNDED


def _print_networks(chains: Mapping[str, Chain], data: Arrays, folder: Path) -> None:
    pixels = data["x_test"][:, None].astype(np.float32) / 255
    for resource, title in (("model", "as it is"), ("calibration", "calibrated")):
        said = [one.before if resource == "model" else one.after for one in chains.values()]
        _print_line([f"**A network {title}**", "the service", "", *map(_words, said)])
        for word, (library, classify) in NETWORK_READERS.items():
            cells = []
            for (name, one), service in zip(chains.items(), said, strict=True):
                into = folder / f"{name}-{resource}-{word}"
                (path,) = one.made[resource].download(into, format=word)
                here = accuracy_and_ece(classify(path, into, pixels), data["y_test"])
                cells.append(_words(here, service))
            _print_line([f"out of `{word}`", library, "", *cells])


def _print_reports(chains: Mapping[str, Chain], folder: Path) -> None:
    _print_line(
        ["**The report**", "the service", "", *(_words(one.after) for one in chains.values())]
    )
    for word, (library, read) in REPORT_READERS.items():
        cells = []
        for name, one in chains.items():
            (path,) = one.made["report"].download(folder / f"{name}-{word}", format=word)
            cells.append(_words(read(path), one.after))
        _print_line([f"out of `{word}`", library, "", *cells])


def accuracy_and_ece(probabilities: NDArray[Any], labels: NDArray[Any]) -> Numbers:
    """Accuracy, and the expected calibration error of 15 bins of equal width, by NumPy alone.

    Args:
        probabilities: floating point (N, K).
        labels: int (N,).
    """
    confidence = probabilities.max(1).astype(np.float64)
    is_right = probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    gaps = [
        abs(float(is_right[bins == m].sum()) - float(confidence[bins == m].sum()))
        for m in range(N_BINS)
    ]
    return float(is_right.mean()), sum(gaps) / len(labels)


def _read_safetensors(path: Path, _folder: Path, _details: Mapping[str, Any]) -> Arrays:
    held = load_file(path)
    return {name: held[name].numpy() for name in ("images", "labels")}


def _read_npz(path: Path, _folder: Path, _details: Mapping[str, Any]) -> Arrays:
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in ("images", "labels")}


def _read_folder(path: Path, folder: Path, details: Mapping[str, Any]) -> Arrays:
    pixels, labels = image_folder(_unpacked(path, folder))
    images = (pixels[:, None].astype(np.float32) / 255 - details["mean"][0]) / details["std"][0]
    return {"images": images.astype(np.float32), "labels": labels}


def _read_hugging_face(path: Path, folder: Path, _details: Mapping[str, Any]) -> Arrays:
    rows = load_dataset(
        str(_unpacked(path, folder)), split="train", cache_dir=str(folder / "cache")
    )
    arrays = rows.with_format("numpy")[:]
    return {"images": np.stack(list(arrays["pixel_values"])), "labels": arrays["label"]}


def _read_shard(path: Path, _folder: Path, _details: Mapping[str, Any]) -> Arrays:
    shard = webdataset.WebDataset(str(path), shardshuffle=False).decode().to_tuple("npy", "cls")
    images, labels = zip(*shard, strict=True)
    return {"images": np.stack(images), "labels": np.array(labels, np.int64)}


def _read_dc(path: Path, _folder: Path, _details: Mapping[str, Any]) -> Arrays:
    ((images, labels),) = torch.load(path, weights_only=True)["data"]
    return {"images": images.numpy(), "labels": labels.numpy()}


def _read_mtt(path: Path, folder: Path, _details: Mapping[str, Any]) -> Arrays:
    into = _unpacked(path, folder)
    names = {"images": "images_best.pt", "labels": "labels_best.pt"}
    return {key: torch.load(into / name, weights_only=True).numpy() for key, name in names.items()}


def _by_onnx(path: Path, _folder: Path, pixels: NDArray[np.float32]) -> NDArray[Any]:
    found: NDArray[Any] = onnxruntime.InferenceSession(path).run(
        ["probabilities"], {"pixels": pixels}
    )[0]
    return found


def _by_program(path: Path, _folder: Path, pixels: NDArray[np.float32]) -> NDArray[Any]:
    found: NDArray[Any] = torch.export.load(path).module()(torch.tensor(pixels)).detach().numpy()
    return found


def _by_weights(path: Path, folder: Path, pixels: NDArray[np.float32]) -> NDArray[Any]:
    """The published ConvNet, written down once more in torch's own functions."""
    into = _unpacked(path, folder)
    weights = load_file(into / "model.safetensors")
    config = json.loads((into / "config.json").read_text())
    x = (torch.tensor(pixels) - config["mean"][0]) / config["std"][0]
    for block in range(config["network"]["depth"]):
        conv, norm = f"features.conv{block}", f"features.norm{block}"
        x = torch.nn.functional.conv2d(
            x, weights[f"{conv}.weight"], weights[f"{conv}.bias"], padding=1
        )
        x = torch.nn.functional.group_norm(
            x, x.shape[1], weights[f"{norm}.weight"], weights[f"{norm}.bias"]
        )
        x = torch.nn.functional.avg_pool2d(x.relu(), 2)
    last = torch.nn.functional.linear(
        x.flatten(1), weights["classifier.weight"], weights["classifier.bias"]
    )
    found: NDArray[Any] = (last / config.get("temperature", 1.0)).softmax(1).numpy()
    return found


def _json_numbers(path: Path) -> Numbers:
    rows = json.loads(path.read_text())["rows"]
    (row,) = (row for row in rows if row["method"] == "ts")
    return row["accuracy"]["mean"], row["ece"]["mean"]


def _csv_numbers(path: Path) -> Numbers:
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["method"] == "ts")
    return float(row["accuracy"]), float(row["ece"])


def _parquet_numbers(path: Path) -> Numbers:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    (row,) = (row for row in rows if row["method"] == "ts")
    return row["accuracy"], row["ece"]


def _unpacked(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


SET_READERS: Mapping[str, tuple[str, Callable[..., Arrays]]] = {
    "safetensors": ("safetensors", _read_safetensors),
    "npz": ("numpy", _read_npz),
    "imagefolder": ("torchvision", _read_folder),
    "huggingface": ("datasets", _read_hugging_face),
    "webdataset": ("webdataset", _read_shard),
    "dc": ("torch", _read_dc),
    "mtt": ("torch", _read_mtt),
}
NETWORK_READERS: Mapping[str, tuple[str, Callable[..., NDArray[Any]]]] = {
    "safetensors": ("torch", _by_weights),
    "onnx": ("onnxruntime", _by_onnx),
    "pt2": ("torch.export", _by_program),
}
REPORT_READERS: Mapping[str, tuple[str, Callable[[Path], Numbers]]] = {
    "json": ("json", _json_numbers),
    "csv": ("csv", _csv_numbers),
    "parquet": ("pyarrow", _parquet_numbers),
}

if __name__ == "__main__":
    main()
