"""What each network costs: parameters, and CPU time a image to train on and to ask, beside ConvNet.

One thread; the CPU time of this process, median of several passes, so that other programs on the
machine disturb little.

    python -m benchmarks.networks --size 32 --channels 3
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network

NETWORKS = (
    {"network": "convnet"},
    {"network": "convnet", "width": 128},
    {"network": "vit"},
    {"network": "alexnet"},
    {"network": "vgg11"},
    {"network": "resnet18"},
    {"network": "resnet18", "norm": "batch"},
)
N_CLASSES = 10


def facts_of(n_channels: int, size: int) -> DatasetFacts:
    """Facts of a data set of such images."""
    return DatasetFacts(
        image_shape=(n_channels, size, size),
        class_names=tuple(str(k) for k in range(N_CLASSES)),
        train_class_counts=(1,) * N_CLASSES,
        test_class_counts=(1,) * N_CLASSES,
        mean=(0.5,) * n_channels,
        std=(0.5,) * n_channels,
    )


def milliseconds(work: Callable[[], object], n_images: int, n_passes: int) -> float:
    """Median CPU time an image, after one pass to warm up."""
    work()
    seconds = []
    for _ in range(n_passes):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return 1000 * statistics.median(seconds) / n_images


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--channels", type=int, default=3, help="1 or 3")
    parser.add_argument("--images", type=int, default=64, help="in one batch")
    parser.add_argument("--passes", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    facts = facts_of(asked.channels, asked.size)
    images = torch.randn((asked.images, *facts.image_shape), generator=seeded_generator(0))
    labels = torch.arange(asked.images) % N_CLASSES
    first: tuple[float, float] | None = None
    print(f"{'network':<34}{'parameters':>12}{'train':>18}{'predict':>18}   ms an image")
    for options in NETWORKS:
        spec = TrainSpec.model_validate({**options, "epochs": 1, "batch_size": asked.images})
        network = build_network(spec, facts, seeded_generator(0))
        order = seeded_generator(1)

        def train() -> None:
            train_network(network, images, labels, spec, generator=order)  # noqa: B023

        def predict() -> None:
            predict_logits(network, images)  # noqa: B023

        took = tuple(milliseconds(work, len(images), asked.passes) for work in (train, predict))
        first = first or took
        name = " ".join(str(value) for value in options.values())
        cells = "".join(
            f"{own:>10.2f}{own / other:>7.1f}x" for own, other in zip(took, first, strict=True)
        )
        n_parameters = sum(parameter.numel() for parameter in network.parameters())
        print(f"{name:<34}{n_parameters:>12,}{cells}", flush=True)


if __name__ == "__main__":
    main()
