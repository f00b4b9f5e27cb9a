"""What it costs to hand memory back to the system after every batch: with it kept, and without.

    python -m benchmarks.kept_memory [--repeats 3]

A step of DC at the published width on random images of Fashion-MNIST's size (1 image and 256 real
ones a class), an epoch of training on 2,560 of them, and their logits. Each runs in processes of
its own, which take turns: as the C library comes, and as trainers are started. One thread,
processor seconds, the best of some repeats; page faults and peak memory of the best.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network
from worker.supervisor.programs import KEPT_MEMORY

FACTS = NAMED_DATASETS["fashion_mnist"]
N_REAL, WIDTH, N_CALLS = 256, 128, 3


def one_step() -> Callable[[], object]:
    """A step of DC on one image per class."""
    spec = DcSpec(method="dc", images_per_class=1, width=WIDTH, depth=3, batch_real=N_REAL)
    spec = spec.model_copy(update={"outer_loops": 1, "inner_epochs": 1})
    images, labels = random_images()
    method = GradientMatching(images, labels, spec, FACTS, seed=0)
    state = method.initial_state()
    return lambda: method.step(state, 0, lr_scale=1.0)


def one_epoch() -> Callable[[], object]:
    """An epoch of training, batches of 256."""
    images, labels = random_images()
    spec = TrainSpec(width=WIDTH, depth=3, epochs=1)
    network = build_network(spec, FACTS, seeded_generator(1))
    return lambda: train_network(network, images, labels, spec, generator=seeded_generator(2))


def all_logits() -> Callable[[], object]:
    """Logits of all images."""
    images, _ = random_images()
    network = build_network(TrainSpec(width=WIDTH, depth=3), FACTS, seeded_generator(1))
    return lambda: predict_logits(network, images)


WORK = {"a step of DC": one_step, "an epoch": one_epoch, "logits": all_logits}


def random_images() -> tuple[torch.Tensor, torch.Tensor]:
    """256 images per class, float32 (2560, 1, 28, 28), int64 (2560,)."""
    labels = torch.arange(FACTS.n_classes).repeat_interleave(N_REAL)
    shape = (len(labels), *FACTS.image_shape)
    return torch.randn(shape, generator=seeded_generator(0)), labels


def measure(name: str) -> None:
    """Print one process's best call as JSON."""
    torch.set_num_threads(1)
    call, best = WORK[name](), float("inf")
    for _ in range(N_CALLS):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss / 1024
    print(json.dumps({"seconds": best, "faults": used.ru_minflt, "peak": peak}))


def in_a_process(name: str, variables: dict[str, str]) -> dict[str, float]:
    """Measure in a process of its own."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    argv = [sys.executable, "-m", "benchmarks.kept_memory", "--measure", name]
    done = subprocess.run(argv, env={**ours, **variables}, check=True, capture_output=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a row for each piece of work."""
    parser = argparse.ArgumentParser(description="What it costs to hand memory back.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=WORK)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    print("              as it comes      kept   ratio   page faults     peak memory")
    for name in WORK:
        plain, kept = [], []
        for _ in range(options.repeats):
            plain.append(in_a_process(name, {}))
            kept.append(in_a_process(name, dict(KEPT_MEMORY)))
        before, after = (min(runs, key=lambda run: run["seconds"]) for runs in (plain, kept))
        print(
            f"{name:<14}{before['seconds']:9.2f} s{after['seconds']:8.2f} s"
            f"{before['seconds'] / after['seconds']:8.2f}"
            f"{before['faults'] / 1e6:7.2f}, {after['faults'] / 1e6:.2f} M"
            f"{before['peak']:8.0f}, {after['peak']:.0f} MB"
        )


if __name__ == "__main__":
    main()
