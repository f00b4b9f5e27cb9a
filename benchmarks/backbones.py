"""Distilled sets of the smoke presets beside random real images: accuracy of a ConvNet.

    python -m benchmarks.backbones --data FOLDER --dataset fashion_mnist [--sizes 1 10]

`digits` needs no folder; the others are FOLDER/NAME.npz (x_train, y_train, x_test, y_test). Each
set is distilled as a job of the service would, chosen on its validation split, and two networks
are trained on it; random rows are two draws. 2,500 test images, one thread; seconds are the
processor's, evaluations during distillation and the experts of mtt among them.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.mask_ratio_cases import read_pixels
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import Standard, enter
from ddcal_core.data.labelled import random_subset, split_validation
from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.experts import ExpertSet, ExpertTraining, record_experts
from ddcal_core.distillation.loop import Outcome, distill
from ddcal_core.distillation.method import DistillationMethod
from ddcal_core.distillation.mtt import TrajectoryMatching
from ddcal_core.distillation.rtp import RememberingThePast
from ddcal_core.distillation.selection import selection_by_validation
from ddcal_core.metrics import accuracy
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.dsa import DsaSpec
from ddcal_core.specs.methods.mtt import MttSpec
from ddcal_core.specs.methods.rtp import RtpSpec
from ddcal_core.specs.training import TrainSpec
from ddcal_core.training.train import predict_logits, train_network

N_TEST = 2_500
Labelled = tuple[Tensor, Tensor]


def read_parts(dataset: str, folder: Path, seed: int) -> dict[str, Labelled]:
    """Images in network-input space and labels: to distill, validation, test."""
    space = Standard(NAMED_DATASETS[dataset])
    (images, labels), (test, test_labels) = read_pixels(dataset, folder, folder)
    index, cut = split_validation(labels, None, space.facts.n_classes, seed)
    test, test_labels = test[:N_TEST], test_labels[:N_TEST]
    parts = {"real": (images[index], labels[index]), "validation": (images[cut], labels[cut])}
    parts["test"] = (test, test_labels)
    return {name: (enter(space, pixels), own) for name, (pixels, own) in parts.items()}


def backbone_of(params: DistillParams, real: Labelled, folder: Path) -> DistillationMethod:
    """The method on real images; of mtt its experts too, recorded into a folder."""
    spec, facts, seed = params.distill, NAMED_DATASETS[params.dataset], params.seed
    match spec:
        case DmSpec():
            return DistributionMatching(*real, spec, facts, seed=seed)
        case DcSpec() | DsaSpec():
            return GradientMatching(*real, spec, facts, seed=seed)
        case RtpSpec():
            return RememberingThePast(*real, spec, facts, seed=seed)
        case MttSpec():
            path = folder / "experts.safetensors"
            record_experts(path, ExpertTraining(*real, spec.experts_to_imitate(), facts, seed), {})
            return TrajectoryMatching(*real, spec, facts, seed=seed, experts=ExpertSet(path))


def distilled(parts: dict[str, Labelled], params: DistillParams) -> Outcome:
    """What a distill job of these params makes."""
    spec, facts, seed = params.distill, NAMED_DATASETS[params.dataset], params.seed
    with tempfile.TemporaryDirectory() as folder:
        return distill(
            backbone_of(params, parts["real"], Path(folder)),
            n_steps=spec.iterations,
            selection=selection_by_validation(*parts["validation"], spec, facts, seed=seed),
        )


def test_accuracy(dataset: str, images: Tensor, labels: Tensor, test: Labelled, seed: int) -> float:
    """Of a ConvNet trained on a set for 150 epochs."""
    facts = NAMED_DATASETS[dataset]
    depth = 2 if dataset == "digits" else 3
    spec = TrainSpec(width=32, depth=depth, epochs=150, batch_size=32, lr=0.02)
    network = build_network(spec, facts, seeded_generator(seed, "network"))
    train_network(network, images, labels, spec, generator=seeded_generator(seed, "order"))
    return accuracy(predict_logits(network, test[0], batch_size=64), test[1])


def print_size(dataset: str, methods: list[str], size: int, parts: dict[str, Labelled]) -> None:
    """Print random real images and each method at one number of images per class."""
    images, labels = parts["real"]
    accuracies = []
    for seed in (0, 1):
        chosen = random_subset(
            labels, size, NAMED_DATASETS[dataset].n_classes, seeded_generator(seed, "random")
        )
        accuracies.append(
            test_accuracy(dataset, images[chosen], labels[chosen], parts["test"], seed)
        )
    print(f"{dataset} {size:>3}  random {_shown(accuracies)}", flush=True)
    for method in methods:
        spec = {"method": method, "images_per_class": size}
        # Named because a job of mtt has to; the ones imitated here are recorded on the spot.
        experts = {"experts": "exp_" + "0" * 26} if method == "mtt" else {}
        params = DistillParams.model_validate({"dataset": dataset, "distill": spec, **experts})
        started = time.process_time()
        made = distilled(parts, params)
        seconds = time.process_time() - started
        own = made.distilled
        accuracies = [
            test_accuracy(dataset, own.images, own.labels, parts["test"], seed) for seed in (0, 1)
        ]
        scores = ", ".join(f"{step}: {100 * score:.1f}" for step, score in made.scores.items())
        print(
            f"{dataset} {size:>3}  {method:<6} {_shown(accuracies)}   {seconds:4.0f} s, validation "
            f"{scores}; chosen {made.chosen_step}",
            flush=True,
        )


def _shown(accuracies: list[float]) -> str:
    return " ".join(f"{100 * value:.1f} %" for value in accuracies)


def main() -> None:
    """Print each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--methods", nargs="+", default=["dm", "dc", "dsa"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = read_parts(arguments.dataset, arguments.data, seed=0)
    for size in arguments.sizes:
        print_size(arguments.dataset, arguments.methods, size, parts)


if __name__ == "__main__":
    main()
