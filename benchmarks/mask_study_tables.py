"""The tables of docs/mask-study/tables.md that come from the study's numbers, as Markdown."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.mask_study_cases import DATASETS
from benchmarks.mask_study_numbers import Network, Numbers, Point

SETS = ("dm", "random")
UNITS = ("pixel", "patch")
FLAT_POINTS = 0.01
"""Ratios whose mean ECE is at most so much above that of the best are the flat part."""

Group = tuple[str, int, str]
"""Data set, images per class, what was trained on."""


class Study:
    """The numbers, by what they are about.

    Args:
        numbers: of all cases.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.networks: dict[Group, list[Network]] = {}
        for network in numbers.networks:
            self.networks.setdefault(_group(network), []).append(network)
        self.points: dict[tuple[Group, str, str, float], list[Point]] = {}
        for point in numbers.points:
            key = (_group(point), point.fit_on, point.unit, point.ratio)
            self.points.setdefault(key, []).append(point)
        self.ratios = sorted({point.ratio for point in numbers.points})
        self.groups = sorted(
            self.networks, key=lambda g: (DATASETS.index(g[0]), g[1], SETS.index(g[2]))
        )

    def eces(self, group: Group, fit_on: str, unit: str, ratio: float) -> list[float]:
        """Give each seed's ECE at a ratio."""
        return [point.ece for point in self.points[group, fit_on, unit, ratio]]

    def curve(self, group: Group, fit_on: str, unit: str) -> dict[float, float]:
        """Give the mean ECE over seeds by ratio."""
        return {r: statistics.mean(self.eces(group, fit_on, unit, r)) for r in self.ratios}

    def best(self, group: Group, fit_on: str, unit: str) -> float:
        """Give the ratio of least mean ECE."""
        curve = self.curve(group, fit_on, unit)
        return min(curve, key=lambda ratio: curve[ratio])

    def of(self, trained_on: str) -> list[Group]:
        """Give the groups that were trained on one kind of set."""
        return [group for group in self.groups if group[2] == trained_on]

    def mean_curve(self, trained_on: str, fit_on: str, unit: str) -> dict[float, float]:
        """Give the mean of the curves of one kind of set, each group counting alike."""
        curves = [self.curve(group, fit_on, unit) for group in self.of(trained_on)]
        return {ratio: statistics.mean(curve[ratio] for curve in curves) for ratio in self.ratios}

    def mean_of_best(self, trained_on: str, fit_on: str, unit: str) -> float:
        """Give the mean of each curve's least ECE."""
        return statistics.mean(
            min(self.curve(group, fit_on, unit).values()) for group in self.of(trained_on)
        )

    def flat(self, group: Group, fit_on: str, unit: str) -> tuple[float, float]:
        """Give the ends of the flat part around the best ratio."""
        curve, best = self.curve(group, fit_on, unit), self.best(group, fit_on, unit)
        is_flat = {r: value <= curve[best] + FLAT_POINTS for r, value in curve.items()}
        low = high = self.ratios.index(best)
        while low > 0 and is_flat[self.ratios[low - 1]]:
            low -= 1
        while high + 1 < len(self.ratios) and is_flat[self.ratios[high + 1]]:
            high += 1
        return self.ratios[low], self.ratios[high]


def _group(row: Network | Point) -> Group:
    return row.dataset, row.images_per_class, row.trained_on


def print_tables(numbers: Numbers) -> None:
    """Print every table."""
    study = Study(numbers)
    _print_summary(study)
    _print_widths(study)
    _print_direction(study)
    for fit_on in ("distilled", "validation"):
        _print_ratios(study, fit_on)
    _print_masked_accuracy(study)
    _print_one_for_all(study)
    _print_against_labels(study)
    _print_sets(study)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table under a bold title."""
    print(f"\n**{title}**\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def percent(values: Sequence[float]) -> str:
    """Write mean and deviation of fractions in percent."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean + (f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else "")


def _name(group: Group) -> tuple[str, str, str]:
    return group[0], str(group[1]), group[2]


def _print_summary(study: Study) -> None:
    def mean(groups: Sequence[Group], unit: str, ratio: float | None) -> str:
        eces = []
        for group in groups:
            at = study.best(group, "distilled", unit) if ratio is None else ratio
            eces.append(study.curve(group, "distilled", unit)[at])
        return f"{100 * statistics.mean(eces):.1f}"

    def row(images_per_class: int, trained_on: str) -> list[str]:
        groups = [group for group in study.of(trained_on) if group[1] == images_per_class]
        none = [network.ece for group in groups for network in study.networks[group]]
        labelled = [study.curve(group, "validation", "pixel")[0.0] for group in groups]
        return [
            str(images_per_class),
            trained_on,
            f"{100 * statistics.mean(none):.1f}",
            f"{100 * statistics.mean(labelled):.1f}",
            mean(groups, "pixel", 0.0),
            *(mean(groups, unit, ratio) for unit in UNITS for ratio in (0.7, None)),
        ]

    sizes = sorted({group[1] for group in study.groups})
    head = ("IPC", "trained on", "uncalibrated", "T on validation", "T on small set, unmasked",
            "pixel .7", "pixel, best", "patch .7", "patch, best")  # fmt: skip
    table("Mean ECE in % over data sets", head, (row(n, s) for n in sizes for s in SETS))


def _print_widths(study: Study) -> None:
    rows = []
    for fit_on in ("distilled", "validation"):
        for unit in UNITS:
            best = [study.best(group, fit_on, unit) for group in study.groups]
            flat = [study.flat(group, fit_on, unit) for group in study.groups]
            n = len(best)
            rows.append(
                [
                    fit_on,
                    unit,
                    f"{sum(r == 0 for r in best)} of {n}",
                    f"{sum(0 < r < study.ratios[-1] for r in best)} of {n}",
                    f"{sum(r == study.ratios[-1] for r in best)} of {n}",
                    f"{sum(low == high for low, high in flat)} of {n}",
                    f"{sum(low <= 0.7 <= high for low, high in flat)} of {n}",
                ]
            )
    head = ("T fitted on", "mask", "best at 0", "best inside", "best at the end (.95)",
            "flat part one ratio wide", "flat part holds .7")  # fmt: skip
    table("Where the best ratio lies", head, rows)


def _print_direction(study: Study) -> None:
    def row(group: Group) -> list[str]:
        networks = study.networks[group]
        labelled = study.points[group, "validation", "pixel", 0.0]
        temperatures = [point.temperature for point in labelled if point.temperature is not None]
        n_over = sum(t > 1 for t in temperatures)
        return [
            *_name(group),
            str(len(networks)),
            percent([network.accuracy for network in networks]),
            f"{100 * statistics.mean(network.signed_gap for network in networks):+.1f}",
            percent([network.ece for network in networks]),
            percent([point.ece for point in labelled]),
            f"{100 * statistics.mean(network.chance for network in networks):.1f}",
            f"{statistics.mean(temperatures):.2f}",
            f"{n_over} of {len(temperatures)}",
        ]

    head = ("data set", "IPC", "trained on", "seeds", "accuracy, %", "gap", "ECE, none",
            "ECE, T on validation", "chance 95 %", "T", "T > 1")  # fmt: skip
    table("Networks as trained, and with T from 1,000 real labels", head, map(row, study.groups))


def _print_ratios(study: Study, fit_on: str) -> None:
    shown = (0.0, 0.3, 0.5, 0.7, 0.9)
    head = ["data set", "IPC", "trained on", "mask"]
    head += [f"{ratio:g}" for ratio in shown] + ["best: r", "ECE", "flat part"]

    def row(group: Group, unit: str) -> list[str]:
        best = study.best(group, fit_on, unit)
        low, high = study.flat(group, fit_on, unit)
        return [
            *_name(group),
            unit,
            *(percent(study.eces(group, fit_on, unit, ratio)) for ratio in shown),
            f"{best:g}",
            percent(study.eces(group, fit_on, unit, best)),
            f"{low:g}" if low == high else f"{low:g} to {high:g}",
        ]

    title = {
        "distilled": "ECE in %, T fitted on the masked small set",
        "validation": "ECE in %, T fitted on 1,000 masked real images",
    }[fit_on]
    table(title, head, (row(group, unit) for group in study.groups for unit in UNITS))


def _print_masked_accuracy(study: Study) -> None:
    shown = (0.3, 0.5, 0.7, 0.9)

    def accuracy(group: Group, unit: str, ratio: float) -> str:
        points = study.points[group, "distilled", unit, ratio]
        return f"{100 * statistics.mean(point.masked_accuracy for point in points):.0f}"

    def row(group: Group, unit: str) -> list[str]:
        best = study.best(group, "distilled", unit)
        real = statistics.mean(network.accuracy for network in study.networks[group])
        return [
            *_name(group),
            unit,
            f"{100 * real:.0f}",
            *(accuracy(group, unit, ratio) for ratio in shown),
            f"{best:g}",
            accuracy(group, unit, best),
        ]

    head = ["data set", "IPC", "trained on", "mask", "test images"]
    head += [f"masked {ratio:g}" for ratio in shown] + ["best: r", "masked best"]
    table(
        "Accuracy in % on test images, and on the small set masked",
        head,
        (row(group, unit) for group in study.groups for unit in UNITS),
    )


def _print_one_for_all(study: Study) -> None:
    kinds = [(s, f, u) for f in ("distilled", "validation") for s in SETS for u in UNITS]
    rows = [
        [f"{ratio:g}", *(f"{100 * study.mean_curve(*kind)[ratio]:.1f}" for kind in kinds)]
        for ratio in study.ratios
    ]
    rows.append(["best of each", *(f"{100 * study.mean_of_best(*kind):.1f}" for kind in kinds)])
    none = [statistics.mean(one.ece for g in study.of(s) for one in study.networks[g])
            for s, _, _ in kinds]  # fmt: skip
    rows.append(["uncalibrated", *(f"{100 * ece:.1f}" for ece in none)])
    head = ["ratio", *(f"{s}, {f}, {u}" for s, f, u in kinds)]
    table("Mean ECE in % over data sets and images per class, one ratio for all", head, rows)


def _print_against_labels(study: Study) -> None:
    """Count networks for which a masked small set does as well as T fitted with labels."""
    of_network = _by_network(study)
    rows = []
    for unit in UNITS:
        for ratio in study.ratios:
            for_all = [
                (curves["distilled", unit][ratio], curves["validation", unit][ratio],
                 curves["validation", "pixel"][0.0], none)
                for curves, none in of_network
            ]  # fmt: skip
            n = len(for_all)
            rows.append(
                [
                    unit,
                    f"{ratio:g}",
                    f"{sum(small < none for small, _, _, none in for_all)} of {n}",
                    f"{sum(small <= ts + 0.01 for small, _, ts, _ in for_all)} of {n}",
                    f"{sum(masked < ts for _, masked, ts, _ in for_all)} of {n}",
                    f"{100 * statistics.mean(m - ts for _, m, ts, _ in for_all):+.1f}",
                ]
            )
    head = ("mask", "ratio", "small set: below uncalibrated",
            "small set: at most 1 point above T on validation",
            "masked validation: below T on validation", "mean difference, points")  # fmt: skip
    table("Networks for which a ratio does well", head, rows)


def _by_network(
    study: Study,
) -> list[tuple[Mapping[tuple[str, str], Mapping[float, float]], float]]:
    found: dict[tuple[Group, int], dict[tuple[str, str], dict[float, float]]] = {}
    for (group, fit_on, unit, ratio), points in study.points.items():
        for point in points:
            curves = found.setdefault((group, point.seed), {})
            curves.setdefault((fit_on, unit), {})[ratio] = point.ece
    none = {(g, one.seed): one.ece for g, members in study.networks.items() for one in members}
    return [(curves, none[key]) for key, curves in found.items()]


def _print_sets(study: Study) -> None:
    """Put DM sets beside random ones of the same data set and size."""
    pairs = [(group, (*group[:2], "random")) for group in study.groups if group[2] == "dm"]

    def row(pair: tuple[Group, Group]) -> list[str]:
        sides = [study.networks[group] for group in pair]
        return [
            *_name(pair[0])[:2],
            *(percent([one.accuracy for one in side]) for side in sides),
            *(percent([one.ece for one in side]) for side in sides),
            *(f"{statistics.mean(one.effective_rank for one in side):.1f}" for side in sides),
            *(f"{statistics.mean(one.logit_variation for one in side):.2f}" for side in sides),
            *(f"{study.best(group, 'distilled', unit):g}" for unit in UNITS for group in pair),
        ]

    head = ["data set", "IPC"]
    head += [
        f"{name}: {source}"
        for name in ("accuracy, %", "ECE, none", "effective rank", "logit variation",
                     "best r, pixel", "best r, patch")
        for source in SETS
    ]  # fmt: skip
    table("DM sets beside random real sets", head, map(row, pairs))
