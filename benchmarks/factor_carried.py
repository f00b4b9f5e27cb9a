"""Does the factor of a small set hold for networks unlike the one it was measured with?

    python -m benchmarks.factor_carried make --data FOLDER --out FOLDER [CASE ...]
    python -m benchmarks.factor_carried table --out FOLDER

A case is as in `benchmarks.mask_ratio`. `make` trains fifteen networks on its small set, each
unlike the first in one thing, and keeps each one's exact T on labelled real images, its half-way T,
and the test ECE at every temperature that another one's factor leads to: all pairs of a network
that measures the factor and one that uses it. `--only convnet` leaves out the other losses and
networks, which take most of the time; a case made so is gone on with. `table` prints what
docs/mask-study/tables.md shows. FOLDER of --data as in `benchmarks.mask_ratio`.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.mask_ratio import parse_case, ratio_of_means
from benchmarks.mask_ratio_cases import Case, RealImages, read_real, small_set, train_spec
from ddcal_core.calibration.temperature import fit_temperature
from ddcal_core.calibration.yardstick import half_way_temperature
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.metrics import expected_calibration_error
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.augmentations import ALL_AUGMENTATIONS
from ddcal_core.specs.training import Focal, LabelSmoothing, Mixup, TrainSpec
from ddcal_core.training.train import predict_logits, train_network

CASES = tuple(
    f"{dataset}-{source}-{n}-{seed}"
    for dataset, sizes, seeds in (
        ("digits", (1, 10, 50), (0, 1)),
        ("fashion_mnist", (1, 10), (0, 1)),
        ("cifar10", (10,), (0, 1)),
        ("cifar10", (1,), (0,)),
        ("mnist", (1, 10), (0,)),
    )
    for source, n, seed in itertools.product(("random", "dm"), sizes, seeds)
)
BATCH_SIZE = 64
USUAL, AGAIN = "width 32, depth 3", "another seed"
CONVNETS: dict[str, Callable[[TrainSpec], dict[str, Any]]] = {
    USUAL: lambda _: {},
    AGAIN: lambda _: {},
    "width 8": lambda _: {"width": 8},
    "width 64": lambda _: {"width": 64},
    "depth 1": lambda _: {"depth": 1},
    "depth 2": lambda _: {"depth": 2},
    "a third of the epochs": lambda spec: {"epochs": spec.epochs // 3},
    "three times the epochs": lambda spec: {"epochs": 3 * spec.epochs},
    "width 8, a third of the epochs": lambda spec: {"width": 8, "epochs": spec.epochs // 3},
}
OTHERS: dict[str, Callable[[TrainSpec], dict[str, Any]]] = {
    "label smoothing 0.05": lambda _: {"loss": LabelSmoothing(name="label_smoothing")},
    "focal loss 3": lambda _: {"loss": Focal(name="focal")},
    "mixup 0.2": lambda _: {"loss": Mixup(name="mixup")},
    "augmented": lambda _: {"augmentation": ALL_AUGMENTATIONS},
    "AlexNet": lambda _: {"network": "alexnet"},
    "ViT": lambda _: {"network": "vit"},
}
VARIANTS = {**CONVNETS, **OTHERS}


def main(arguments: Sequence[str]) -> None:
    """Make cases, or print the tables."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--data", type=Path, required=True)
    making.add_argument("cases", nargs="*", metavar="CASE")
    making.add_argument("--only", choices=["convnet"])
    for one in (making, commands.add_parser("table")):
        one.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "make":
        make(options.cases or CASES, options)
    else:
        paths = sorted(options.out.glob("*-*-*-*.json"))
        print_tables([json.loads(path.read_text()) for path in paths])


def make(names: Sequence[str], options: argparse.Namespace) -> None:
    """Train and measure the cases that are not there yet."""
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = CONVNETS if options.only else VARIANTS
    for name in names:
        path = options.out / f"{name}.json"
        networks = json.loads(path.read_text())["networks"] if path.exists() else {}
        missing = [variant for variant in wanted if variant not in networks]
        if not missing:
            continue
        case, used = parse_case(name), time.process_time()
        images = read_real(case.dataset, options.data, options.out, case.seed)
        measure(case, images, networks, missing)
        path.write_text(json.dumps({"case": case.name, "networks": networks}, indent=1))
        print(f"{name:28} {time.process_time() - used:6.1f} s of one core", flush=True)


def measure(
    case: Case, images: RealImages, networks: dict[str, dict[str, Any]], missing: Sequence[str]
) -> None:
    """Add networks: their two temperatures, and their test ECE under each one's factor."""
    small = small_set(case, images, NAMED_DATASETS[case.dataset])
    test_logits: dict[str, Tensor] = {}
    for name in missing:
        network, seconds = _trained(case, small, name)
        half_way = half_way_temperature(network, *small, seed=case.seed).temperature
        logits = predict_logits(network, images.real[0], batch_size=BATCH_SIZE)
        exact = fit_temperature(logits, images.real[1]).temperature
        test_logits[name] = predict_logits(network, images.test[0], batch_size=BATCH_SIZE)
        networks[name] = {"half_way": half_way, "exact": exact, "seconds": seconds}
    for name, logits in test_logits.items():
        own, labels = networks[name], images.test[1]
        own["accuracy"] = float((logits.argmax(1) == labels).double().mean())
        own["ece"] = {
            other: _ece(logits, labels, _carried(own, networks[other])) for other in networks
        }
        own["ece"] |= {
            "none": _ece(logits, labels, 1.0),
            "labels": _ece(logits, labels, own["exact"]),
            "half way": _ece(logits, labels, own["half_way"]),
        }


def _trained(case: Case, small: tuple[Tensor, Tensor], name: str) -> tuple[nn.Module, float]:
    facts = NAMED_DATASETS[case.dataset]
    usual = train_spec(len(small[1]))
    change = VARIANTS[name](usual)
    # Options that another network does not have are left out, for it to have its own.
    known = {"n_seeds", "epochs", "batch_size"} | ({"width"} if "network" not in change else set())
    spec = TrainSpec.model_validate({**usual.model_dump(include=known), **change})
    place = list(VARIANTS).index(name)
    network = build_network(spec, facts, seeded_generator(case.seed, f"carried {place}", "init"))
    started = time.process_time()
    order = seeded_generator(case.seed, f"carried {place}", "order")
    train_network(network, *small, spec, generator=order)
    return network, time.process_time() - started


def _carried(own: dict[str, Any], other: dict[str, Any]) -> float | None:
    if None in (own["half_way"], other["half_way"], other["exact"]):
        return None
    return float(own["half_way"] * other["exact"] / other["half_way"])


def _ece(logits: Tensor, labels: Tensor, temperature: float | None) -> float | None:
    if temperature is None:
        return None
    return expected_calibration_error(torch.softmax(logits.double() / temperature, 1), labels)


def print_tables(cases: Sequence[dict[str, Any]]) -> None:
    """By number of images per class: ECE under the usual network's factor, then all pairs."""
    groups = {
        "1 image per class": [one for one in cases if one["case"].split("-")[2] == "1"],
        "10 and 50 images per class": [one for one in cases if one["case"].split("-")[2] != "1"],
    }
    whole = [
        one for one in groups["10 and 50 images per class"] if set(VARIANTS) <= set(one["networks"])
    ]
    for title, some in groups.items():
        if some:
            print(f"\n### {title}: {len(some)} cases\n")
            print_users(some)
            print(f"\n### {title}: who measures, who uses\n")
            print_pairs(some)
    if whole:
        print(f"\n### other losses and networks, 10 and 50 images per class: {len(whole)} cases\n")
        print_users(whole, (USUAL, AGAIN, *OTHERS))


def print_users(cases: Sequence[dict[str, Any]], users: Sequence[str] = tuple(CONVNETS)) -> None:
    """One line a user: mean test ECE untouched, half way, and by the factor of the usual network.

    The usual network itself takes that of another seed. How far two factors lie apart is the
    median over cases.
    """
    columns = ("accuracy", "factors apart", "none", "half way", "T, 1,000 labels", "factor carried")
    print(f"| network that uses it | {' | '.join(columns)} | over T with labels |")
    print("|---" * (len(columns) + 2) + "|")
    for user in users:
        other = AGAIN if user == USUAL else USUAL
        own = [one["networks"][user] for one in cases]
        ratios = [_factor(one["networks"][user]) / _factor(one["networks"][other]) for one in cases]
        apart = math.exp(statistics.median(abs(math.log(ratio)) for ratio in ratios))
        names = ("none", "half way", "labels", other)
        eces = {name: [one["ece"][name] for one in own] for name in names}
        value, low, high = ratio_of_means(eces[other], eces["labels"])
        cells = [f"{statistics.mean(one['accuracy'] for one in own):.2f}", f"{apart:.2f}"]
        cells += [_mean(eces[name]) for name in names]
        print(f"| {user} | {' | '.join(cells)} | {value:.2f} ({low:.2f} to {high:.2f}) |")


def _factor(network: dict[str, Any]) -> float:
    return float(network["exact"] / network["half_way"])


def print_pairs(cases: Sequence[dict[str, Any]]) -> None:
    """Mean test ECE: a row a network that measures, a column one that uses."""
    print(f"| measured with | {' | '.join(CONVNETS)} | other than itself |")
    print("|---" * (len(CONVNETS) + 2) + "|")
    for measurer in CONVNETS:
        found = {
            user: [one["networks"][user]["ece"][measurer] for one in cases] for user in CONVNETS
        }
        others = [ece for user, eces in found.items() if user != measurer for ece in eces]
        cells = [_mean(eces) for eces in found.values()]
        print(f"| {measurer} | {' | '.join(cells)} | {_mean(others)} |")


def _mean(eces: Sequence[float]) -> str:
    return f"{100 * statistics.mean(eces):.1f}"


if __name__ == "__main__":
    main(sys.argv[1:])
