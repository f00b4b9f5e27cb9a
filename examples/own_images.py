"""Distil a folder of images, and train a network of your own on them.

python examples/own_images.py my-images/ --images-per-class 10

The folder holds a folder per class (cat/1.png, dog/1.png, ...), of images of one size, or --resize
makes them so. A service has to run: `ddcal serve`.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import ddcal
import ddcal.torch


def main() -> None:
    """Upload, distil, download, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--resize", type=int)
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()

    distil(options)
    images = ddcal.torch.load_set(options.out)
    model = train(images)
    # On pixels: through the space that the set was made in, which it carries.
    answers = model(images.space(images.pixels().clamp(0, 1))).argmax(1)
    share = (answers == images.labels).float().mean()
    print(f"{images}: right on {share:.0%} of them after {images.train_with['epochs']} epochs")


def distil(options: argparse.Namespace) -> None:
    """Have the service distil the folder; its files come to --out."""
    with ddcal.Client() as client:
        resize = {} if options.resize is None else {"resize": options.resize}
        client.upload(options.folder.name, options.folder, **resize).wait()
        distill = {"images_per_class": options.images_per_class, "iterations": options.iterations}
        job = client.submit("distill", dataset=options.folder.name, distill=distill)
        job.wait(progress=True).download(options.out)


def train(images: ddcal.torch.DistilledSet) -> nn.Module:
    """Train a small network as the set wants to be trained on."""
    how = images.train_with
    n_channels, height, width = images.images.shape[1:]
    model = nn.Sequential(
        nn.Conv2d(n_channels, 32, 3, padding=1),
        nn.InstanceNorm2d(32, affine=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * height * width, len(images.class_names)),
    )
    optimiser = torch.optim.SGD(
        model.parameters(), lr=how["lr"], momentum=how["momentum"], weight_decay=how["weight_decay"]
    )
    for _ in range(how["epochs"]):
        for inputs, labels in DataLoader(images, batch_size=how["batch_size"], shuffle=True):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
    return model.eval()


if __name__ == "__main__":
    main()
