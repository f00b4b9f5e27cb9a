"""Which number carries a temperature from one network of a small set to others?

python -m benchmarks.carried_temperature make --data FOLDER --out FOLDER [CASE ...]
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.carried_cases import FIRSTS, LATER, make_case
from benchmarks.mask_ratio import parse_case, ratio_of_means
from benchmarks.mask_ratio_cases import Case
from ddcal_core.calibration.temperature import fit_temperature
from ddcal_core.metrics import expected_calibration_error

CHOOSING = ("digits", "fashion", "cifar", "fashion_2", "cifar_2", "digits_2")
HELD_OUT = ("mnist", "joined", "cifar_6", "mnist_2", "shirts_2", "fliers_2")

UNTOUCHED, LABELS, SHIPPED = "untouched", "T, own labels", "shipped"
NOISE = 0.01
"""A rise of the ECE of which 2,500 test images tell."""


def all_cases(datasets: Sequence[str]) -> list[Case]:
    """Two sources, 1 and 10 images per class, one seed."""
    made = itertools.product(datasets, ("random", "dm"), (1, 10), (0,))
    return sorted((Case(*one) for one in made), key=lambda case: case.images_per_class)


@dataclass(frozen=True)
class Transfer:
    """One later network of a case.

    Attributes:
        case: which.
        n_classes: of its data set.
        ece: on test in [0, 1], by rule; where a rule gives no T, that of the untouched network.
    """

    case: Case
    n_classes: int
    ece: dict[str, float]


def transfers(path: Path) -> list[Transfer]:
    """What each rule makes of each later network of a case."""
    case, held = parse_case(path.stem), torch.load(path)
    networks, n_classes = held["networks"], held["facts"]["n_classes"]
    first = networks[next(iter(FIRSTS))]
    fitted = fit_temperature(first["real"], held["real_labels"]).temperature
    found = []
    for name in LATER:
        own = networks[name]
        half_way = _carried(fitted, _half_way(first, held), _half_way(own, held))
        logit_rms = _carried(fitted, _logit_rms(first), _logit_rms(own))
        rules = {
            UNTOUCHED: 1.0,
            LABELS: fit_temperature(own["real"], held["real_labels"]).temperature,
            "first network's T": fitted,
            "half way": half_way,
            "logit rms": logit_rms,
            SHIPPED: logit_rms if n_classes == 2 else half_way,
        }
        logits, labels = own["test"], held["test_labels"]
        ece = {
            rule: expected_calibration_error(torch.softmax(logits.double() / (t or 1.0), 1), labels)
            for rule, t in rules.items()
        }
        found.append(Transfer(case, n_classes, ece))
    return found


def _half_way(network: dict[str, Tensor], held: dict[str, Any]) -> float | None:
    labels = held["half_labels"].flatten()
    return fit_temperature(network["half"].repeat(2, 1), labels, n_draws=2).temperature


def _logit_rms(network: dict[str, Tensor]) -> float:
    logits = network["self"].double()
    return float((logits - logits.mean(1, keepdim=True)).square().mean().sqrt())


def _carried(fitted: float | None, first: float | None, own: float | None) -> float | None:
    return None if fitted is None or first is None or own is None else fitted * own / first


def print_tables(folder: Path) -> None:
    """Mean test ECE in % by rule, for the cases chosen on and those held out."""
    found = [one for path in sorted(folder.glob("*-*-*-*.pt")) for one in transfers(path)]
    rules = list(found[0].ece)
    for title, datasets in (("Choosing", CHOOSING), ("Held out", HELD_OUT)):
        print(f"\n**{title}**\n")
        print(f"| cases | transfers | {' | '.join(rules)} | {SHIPPED} over labels | worse by it |")
        print("|---" * (len(rules) + 4) + "|")
        for words, is_in in GROUPS.items():
            some = [one for one in found if one.case.dataset in datasets and is_in(one)]
            if some:
                print(f"| {words} | {_line(some, rules)} |")


GROUPS: dict[str, Callable[[Transfer], bool]] = {
    "all": lambda _: True,
    "6 or more classes, 1 a class": lambda one: one.n_classes > 2 and _size(one) == 1,
    "6 or more classes, 10 a class": lambda one: one.n_classes > 2 and _size(one) == 10,
    "2 classes, 1 a class": lambda one: one.n_classes == 2 and _size(one) == 1,
    "2 classes, 10 a class": lambda one: one.n_classes == 2 and _size(one) == 10,
}


def _size(one: Transfer) -> int:
    return one.case.images_per_class


def _line(some: Sequence[Transfer], rules: Sequence[str]) -> str:
    cases = sorted({one.case.name for one in some})
    means = {rule: statistics.mean(one.ece[rule] for one in some) for rule in rules}
    # Networks of one case are alike: cases are drawn again, not networks.
    by_case = [
        [statistics.mean(one.ece[rule] for one in some if one.case.name == name) for name in cases]
        for rule in (SHIPPED, LABELS)
    ]
    value, low, high = ratio_of_means(*by_case)
    harm = statistics.mean(one.ece[SHIPPED] > one.ece[UNTOUCHED] + NOISE for one in some)
    cells = [str(len(some)), *(f"{100 * mean:.1f}" for mean in means.values())]
    return " | ".join([*cells, f"{value:.2f} ({low:.2f} to {high:.2f})", f"{100 * harm:.0f} %"])


def main(arguments: Sequence[str]) -> None:
    """Make cases, or print the tables."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--data", type=Path, required=True)
    making.add_argument("--out", type=Path, required=True)
    making.add_argument("cases", nargs="*", metavar="CASE")
    commands.add_parser("table").add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "table":
        print_tables(options.out)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    cases = [parse_case(name) for name in options.cases] or [
        *all_cases(CHOOSING),
        *all_cases(HELD_OUT),
    ]
    for case in cases:
        path = options.out / f"{case.name}.pt"
        if not path.exists():
            used = time.process_time()
            torch.save(make_case(case, options.data, options.out), path)
            print(f"{case.name:28} {time.process_time() - used:6.1f} s of one core", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
