"""Which temperature can be found for a network of a small set, with real labels or without?

    python -m benchmarks.mask_ratio make --data FOLDER --out FOLDER [CASE ...]
    python -m benchmarks.mask_ratio table --out FOLDER

`make` trains the networks of the cases named (all by default; one takes 1 to 60 s of one core)
and keeps their logits; a case that is there already is left alone. A case is
DATASET-SOURCE-IMAGES_PER_CLASS-SEED, such as fashion_mnist-dm-10-0. FOLDER of --data holds
fashion_mnist.npz, mnist.npz (x_train, y_train, x_test, y_test) and cifar10_jpeg.zip
(SPLIT/CLASS/NUMBER.jpg); digits needs none. `table` prints what docs/mask-study/tables.md shows.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.mask_ratio_candidates import (
    BEST_RATIO,
    OURS,
    WITH_LABELS,
    best_ratio,
    left_out_accuracy,
    masked_real,
    read_case,
    temperatures,
    test_ece,
)
from benchmarks.mask_ratio_cases import FOLD_RATIOS, Case, make_case, read_real
from ddcal_core.metrics import accuracy

CHOOSING = ("digits", "fashion_mnist")
HELD_OUT = ("mnist", "cifar10")
BOTH = ("random", "dm")
GROUPS = (
    ((1,), BOTH),
    ((10,), BOTH),
    ((50,), BOTH),
    ((10, 50), BOTH),
    ((10, 50), ("random",)),
    ((10, 50), ("dm",)),
    ((1, 10, 50), BOTH),
)
MOST_SEEN = 10
N_RESAMPLED = 2_000


@dataclass(frozen=True)
class Row:
    """One case, measured.

    Attributes:
        case: which.
        accuracy: of its network on the test images.
        best_ratio: of least test ECE.
        left_out: accuracy on images left out; None without folds.
        ece: by candidate.
        fitted: exact T on the labelled real images.
        masked_real: of MTS on real images, see `masked_real`.
    """

    case: Case
    accuracy: float
    best_ratio: float
    left_out: float | None
    ece: dict[str, float]
    fitted: float | None
    masked_real: list[tuple[float, float, float, float]]


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
    for one in (making, commands.add_parser("table")):
        one.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "make":
        make([parse_case(name) for name in options.cases] or all_cases(), options)
    else:
        print_tables([measure(path) for path in sorted(options.out.glob("*-*-*-*.npz"))])


def parse_case(name: str) -> Case:
    """DATASET-SOURCE-IMAGES_PER_CLASS-SEED."""
    dataset, source, images_per_class, seed = name.split("-")
    return Case(dataset, source, int(images_per_class), int(seed))


def all_cases() -> list[Case]:
    """Four data sets, two sources, 1, 10 and 50 images per class, two seeds."""
    made = itertools.product((*CHOOSING, *HELD_OUT), ("random", "dm"), (1, 10, 50), (0, 1))
    return sorted((Case(*one) for one in made), key=lambda case: (case.seed, case.name))


def make(cases: Sequence[Case], options: argparse.Namespace) -> None:
    """Train and keep the logits of the cases that are not there yet."""
    options.out.mkdir(parents=True, exist_ok=True)
    for case in cases:
        path = options.out / f"{case.name}.npz"
        if path.exists():
            continue
        started, used = time.monotonic(), time.process_time()
        images = read_real(case.dataset, options.data, options.out, case.seed)
        make_case(case, images, path)
        used, took = time.process_time() - used, time.monotonic() - started
        print(f"{case.name:28} {used:6.1f} s of one core in {took:6.1f} s", flush=True)


def measure(path: Path) -> Row:
    """Every candidate's ECE on one case."""
    case, arrays = parse_case(path.stem), read_case(path)
    found = temperatures(case, arrays)
    return Row(
        case,
        accuracy(arrays["test"], arrays["test_labels"]),
        best_ratio(arrays),
        left_out_accuracy(arrays),
        {name: test_ece(arrays, temperature) for name, temperature in found.items()},
        found[WITH_LABELS],
        masked_real(arrays),
    )


def print_tables(rows: Sequence[Row]) -> None:
    """Every case, then means over the choosing and the held-out cases."""
    print_cases(rows)
    for datasets, title in ((CHOOSING, "choosing"), (HELD_OUT, "held out")):
        chosen = [row for row in rows if row.case.dataset in datasets]
        for sizes, sources in GROUPS:
            some = [row for row in chosen if row.case.images_per_class in sizes]
            some = [row for row in some if row.case.source in sources]
            if some:
                words = f"{', '.join(map(str, sizes))} images per class, {' and '.join(sources)}"
                print(f"\n### {title}, {words}: {len(some)} cases\n")
                print_means(some)
    late = [row for row in rows if row.case.dataset in HELD_OUT and is_late(row.case)]
    if late:
        print(f"\n### held out, made after the method was fixed: {len(late)} cases\n")
        print_means(late)
    print_claims(rows)


def is_late(case: Case) -> bool:
    """Whether nobody had seen a case when the last choice of the method was made."""
    return case.seed > 0 or case.images_per_class > MOST_SEEN


def print_cases(rows: Sequence[Row]) -> None:
    """One line a case: the candidates that matter most."""
    names = ("none", WITH_LABELS, BEST_RATIO, "ratio 0.7", "ratio 0.9", OURS)
    names += ("factor carried by the set",)
    print(f"| case | accuracy | left out | best ratio: r | {' | '.join(names)} |")
    print("|---" * (len(names) + 4) + "|")
    for row in sorted(rows, key=lambda row: (row.case.images_per_class, row.case.name)):
        left_out = "–" if row.left_out is None else f"{row.left_out:.2f}"
        cells = [f"{100 * row.ece[name]:.1f}" for name in names]
        print(
            f"| {row.case.name} | {row.accuracy:.2f} | {left_out} | {row.best_ratio} | "
            f"{' | '.join(cells)} |"
        )


def print_means(rows: Sequence[Row]) -> None:
    """Mean ECE of each candidate, and its ratio to the best ratio and to T with labels."""
    print("| candidate | mean ECE, % | median | over best ratio | over T with labels |")
    print("|---|---|---|---|---|")
    shared = [name for name in rows[0].ece if all(name in row.ece for row in rows)]
    for name in shared:
        own = [row.ece[name] for row in rows]
        cells = [f"{100 * statistics.mean(own):.1f}", f"{100 * statistics.median(own):.1f}"]
        for other in (BEST_RATIO, WITH_LABELS):
            value, low, high = ratio_of_means(own, [row.ece[other] for row in rows])
            cells.append(f"{value:.2f} ({low:.2f} to {high:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")


def print_claims(rows: Sequence[Row]) -> None:
    """Which way the networks are off, and what MTS on labelled real images does."""
    print("\n### which way networks are off\n")
    print("| data set, source | cases | T > 1 | T: lowest, highest | ECE before | ECE, T |")
    print("|---|---|---|---|---|---|")
    for dataset, source in itertools.product((*CHOOSING, *HELD_OUT), BOTH):
        own = [row for row in rows if (row.case.dataset, row.case.source) == (dataset, source)]
        fitted = [row.fitted or 0.0 for row in own]
        means = [100 * statistics.mean(r.ece[name] for r in own) for name in ("none", WITH_LABELS)]
        print(
            f"| {dataset}, {source} | {len(own)} | {sum(one > 1 for one in fitted)} | "
            f"{min(fitted):.2f}, {max(fitted):.2f} | {means[0]:.1f} | {means[1]:.1f} |"
        )
    print("\n### MTS on 500 labelled real images, all cases; logits over unmasked, medians\n")
    print(
        "| ratio | mean ECE, % | below TS in | largest logit over unmasked | its variation, same |"
    )
    print("|---|---|---|---|---|")
    for place, ratio in enumerate(FOLD_RATIOS):
        ece, size, spread = ([row.masked_real[place][part] for row in rows] for part in (1, 2, 3))
        below = sum(row.masked_real[place][1] < row.masked_real[0][1] for row in rows)
        print(
            f"| {ratio} | {100 * statistics.mean(ece):.1f} | {below} of {len(rows)} | "
            f"{statistics.median(size):.2f} | {statistics.median(spread):.2f} |"
        )


def ratio_of_means(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Mean of one over mean of the other, and the middle 95 % over cases drawn again."""
    top, bottom = np.array(one), np.array(other)
    index = np.random.default_rng(0).integers(len(top), size=(N_RESAMPLED, len(top)))
    ratios = top[index].mean(1) / bottom[index].mean(1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(top.mean() / bottom.mean()), float(low), float(high)


if __name__ == "__main__":
    main(sys.argv[1:])
