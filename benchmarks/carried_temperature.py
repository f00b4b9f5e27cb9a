"""Which number carries a temperature from one network of a small set to others?

python -m benchmarks.carried_temperature make --data FOLDER --out FOLDER [CASE ...]
"""

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.carried_cases import CarriedCase, make_case

CHOOSING = ("digits", "fashion", "cifar", "fashion_2", "cifar_2", "digits_2")
HELD_OUT = ("mnist", "joined", "cifar_6", "mnist_2", "shirts_2", "fliers_2")


def all_cases(datasets: Sequence[str]) -> list[CarriedCase]:
    """Two sources, 1 and 10 images a class, one seed."""
    made = itertools.product(datasets, ("random", "dm"), (1, 10), (0,))
    return sorted((CarriedCase(*one) for one in made), key=lambda case: case.images_per_class)


def parse_case(name: str) -> CarriedCase:
    """DATASET-SOURCE-IMAGES_PER_CLASS-SEED."""
    dataset, source, images_per_class, seed = name.split("-")
    return CarriedCase(dataset, source, int(images_per_class), int(seed))


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
    options = parser.parse_args(arguments)
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
