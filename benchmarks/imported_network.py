"""A ResNet-18 of torchvision's trained elsewhere, imported as ONNX, calibrated, and out again.

    ddcal serve &
    python -m benchmarks.imported_network --data fashion_mnist.npz

The .npz has x_train, y_train, x_test, y_test. A part of it becomes a data set of the service with a
validation split of its own; the network is trained here on its training images, exported by
torch.onnx.export and uploaded. The service calibrates it by TS and MTS on validation images and
reports; the calibrated files are downloaded and measured again by `benchmarks.onnx_calibration`,
which knows ONNX Runtime and NumPy alone. The two tables are to be one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ddcal
from ddcal_core.data.torchvision_readers import models

MEAN, STD = 0.2860, 0.3530  # of Fashion-MNIST; each of three channels alike
SIDE = 32
METHODS = [
    {"method": "none"},
    {"method": "ts", "fit_on": "validation"},
    {"method": "mts", "fit_on": "validation", "mask": {"ratio": 0.5}},
]


def parts_of(path: Path, n_train: int, n_validation: int, n_test: int) -> dict[str, np.ndarray]:
    """The first images of each part, validation images after the training images."""
    held, n_both = np.load(path), n_train + n_validation
    return {
        "x_train": held["x_train"][:n_train],
        "y_train": held["y_train"][:n_train],
        "x_val": held["x_train"][n_train:n_both],
        "y_val": held["y_train"][n_train:n_both],
        "x_test": held["x_test"][:n_test],
        "y_test": held["y_test"][:n_test],
    }


def network_input(images: np.ndarray) -> Tensor:
    """Images uint8 (N, H, W) as the network is trained on them."""
    pixels = torch.from_numpy(images).float().div(255).unsqueeze(1)
    large = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
    return large.expand(-1, 3, -1, -1).sub(MEAN).div(STD)


def trained(parts: dict[str, np.ndarray], epochs: int) -> nn.Module:
    """A ResNet-18, by Adam with a rate that falls to 0."""
    torch.manual_seed(0)
    network = models.resnet18(num_classes=10)
    images, labels = network_input(parts["x_train"]), torch.from_numpy(parts["y_train"]).long()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    n_steps = epochs * -(-len(labels) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=n_steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(128):
            loss = F.cross_entropy(network(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def export(network: nn.Module, path: Path) -> None:
    """As anybody would."""
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIDE, SIDE),),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        external_data=False,
        verbose=False,
    )


def calibrated(path: Path, parts: dict[str, np.ndarray], folder: Path) -> list[dict[str, object]]:
    """The service's rows; its files lie in the folder afterwards."""
    name = f"fashion-{time.time_ns()}"
    with ddcal.Client() as client:
        client.upload(name, parts).wait(timeout=600)
        how = {"dataset": name, "space": "standardised", "mean": [MEAN] * 3, "std": [STD] * 3}
        model = client.upload_model("resnet18", path, **how)
        model.wait(timeout=600)
        fitted = client.submit("calibrate", models=[model.id], calibrate=METHODS)
        measured = client.submit("evaluate", calibrations=[fitted.id])
        measured.wait(timeout=1_800)
        fitted.download(folder / "fitted")
        measured.download(folder / "report")
    report = json.loads(next((folder / "report").rglob("report.json")).read_text())
    print(report["headline"])
    return list(report["rows"])


def main() -> None:
    """Print the numbers side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--n-train", type=int, default=6_000)
    asked = parser.parse_args()
    parts = parts_of(asked.data, asked.n_train, 2_000, 5_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(trained(parts, asked.epochs), folder / "resnet18.onnx")
        rows = calibrated(folder / "resnet18.onnx", parts, folder)
        np.savez(folder / "test.npz", x_test=parts["x_test"], y_test=parts["y_test"])
        print("| calibration | T | service: accuracy | ECE | ONNX Runtime alone |")
        for row, file in zip(rows, sorted_files(folder / "fitted"), strict=True):
            command = [
                sys.executable,
                "-m",
                "benchmarks.onnx_calibration",
                file,
                folder / "test.npz",
            ]
            alone = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            temperature = row["temperature"]["mean"]
            print(
                f"| {row['calibration']} | {temperature:.4f} | {row['accuracy']['mean']:.6f} | "
                f"{row['ece']['mean']:.6f} | {alone.strip()} |"
            )


def sorted_files(folder: Path) -> list[Path]:
    """The calibrated files, in the order of the methods."""
    names = ("none", "ts-validation", "mts-validation-0.5")
    return [folder / name / "seed-0" / "calibrated_model.onnx" for name in names]


if __name__ == "__main__":
    main()
