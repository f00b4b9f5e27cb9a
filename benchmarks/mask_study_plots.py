"""The plots of docs/mask-ratio.md: one small drawing a data set and images per class, as SVG."""

import math
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.mask_study_cases import DATASETS
from benchmarks.mask_study_numbers import Numbers
from benchmarks.mask_study_tables import SETS, UNITS, Group, Study
from worker.trainer.report.page.figures import element, text

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 210.0, 150.0, 34.0, 52.0
_LEFT, _TOP, _FOOT = 52.0, 96.0, 44.0
_LOWEST, _HIGHEST = 0.005, 1.0
_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_COLOURS = {"dm": "#2a5fa8", "random": "#b0541f"}
_DASHES = {"pixel": "none", "patch": "6 3"}
_INK, _SOFT, _LINE = "#1c2024", "#5b636b", "#dfe2e5"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_TITLES = {
    "distilled": "T fitted on the masked small set, no further real label",
    "validation": "T fitted on 1,000 masked real images",
}


def draw_plots(numbers: Numbers, folder: Path) -> None:
    """Write ece-distilled.svg and ece-validation.svg."""
    study = Study(numbers)
    for fit_on, title in _TITLES.items():
        path = folder / f"ece-{fit_on}.svg"
        path.write_text(_drawing(study, fit_on, title) + "\n", encoding="utf-8")


def _drawing(study: Study, fit_on: str, title: str) -> str:
    datasets = [name for name in DATASETS if any(group[0] == name for group in study.groups)]
    sizes = sorted({group[1] for group in study.groups})
    width = _LEFT + len(sizes) * (_WIDTH + _GAP_X)
    height = _TOP + len(datasets) * (_HEIGHT + _GAP_Y) + _FOOT - _GAP_Y
    parts = [
        element("title", title),
        element("rect", x=0, y=0, width=width, height=height, fill="#ffffff"),
        text(_LEFT, 20, f"ECE on test: {title}", "", font_size=14,
             font_weight=600, fill=_INK),
        *_legend(),
    ]  # fmt: skip
    for row, dataset in enumerate(datasets):
        for column, size in enumerate(sizes):
            x, y = _LEFT + column * (_WIDTH + _GAP_X), _TOP + row * (_HEIGHT + _GAP_Y)
            groups = [g for g in study.groups if g[:2] == (dataset, size)]
            if groups:
                parts.append(
                    element(
                        "g",
                        "".join(_panel(study, fit_on, groups)),
                        transform=f"translate({x:g} {y:g})",
                    )
                )
    foot = _TOP + len(datasets) * (_HEIGHT + _GAP_Y) - _GAP_Y + 36
    parts.append(text(_LEFT, foot, "share masked while T is fitted, %", "", fill=_SOFT))
    return element(
        "svg",
        "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        font_family=_FONT,
        font_size=11,
    )


def _legend() -> Iterator[str]:
    x = _LEFT
    for source, name in (("dm", "DM set"), ("random", "random real set")):
        for unit in UNITS:
            yield _line(x, 41, x + 24, 41, _COLOURS[source], 2, _DASHES[unit])
            words = f"{name}, {'single pixels' if unit == 'pixel' else 'patches'}"
            yield text(x + 29, 45, words, "", fill=_INK)
            x += 45 + 6.1 * len(words)
    yield _line(_LEFT, 57, _LEFT + 24, 57, _SOFT, 1.2, "2 3")
    yield text(_LEFT + 29, 61, "uncalibrated; bars: lowest to highest seed; scale of ECE in %: "
               "logarithmic", "", fill=_INK)  # fmt: skip


def _panel(study: Study, fit_on: str, groups: list[Group]) -> Iterator[str]:
    dataset, size, _ = groups[0]
    yield text(0, -5, f"{dataset}, {size} per class", "", font_weight=600, fill=_INK)
    for tick in _TICKS:
        yield _line(0, _y(tick), _WIDTH, _y(tick), _LINE, 1)
        yield text(-5, _y(tick) + 4, f"{100 * tick:g}", "", text_anchor="end", fill=_SOFT)
    for tenth in range(0, 11, 2):
        yield text(_WIDTH * tenth / 10, _HEIGHT + 15, f"{10 * tenth}", "", text_anchor="middle",
                   fill=_SOFT)  # fmt: skip
    for group in sorted(groups, key=lambda g: SETS.index(g[2]), reverse=True):
        colour = _COLOURS[group[2]]
        before = _y(statistics.mean(network.ece for network in study.networks[group]))
        yield _line(0, before, _WIDTH, before, colour, 1.2, "2 3")
        for unit in UNITS:
            yield from _curve(study, group, fit_on, unit)


def _curve(study: Study, group: Group, fit_on: str, unit: str) -> Iterator[str]:
    colour, curve = _COLOURS[group[2]], study.curve(group, fit_on, unit)
    for ratio in study.ratios:
        eces, x = study.eces(group, fit_on, unit, ratio), _WIDTH * ratio
        yield _line(x, _y(min(eces)), x, _y(max(eces)), colour, 1)
    points = " ".join(f"{_WIDTH * ratio:.1f},{_y(ece):.1f}" for ratio, ece in curve.items())
    yield element("polyline", points=points, fill="none", stroke=colour, stroke_width=2,
                  stroke_dasharray=_DASHES[unit])  # fmt: skip
    best = study.best(group, fit_on, unit)
    yield element("circle", cx=_WIDTH * best, cy=_y(curve[best]), r=3.4, fill="#ffffff",
                  stroke=colour, stroke_width=1.8)  # fmt: skip


def _y(ece: float) -> float:
    place = math.log(min(max(ece, _LOWEST), _HIGHEST) / _LOWEST)
    return _HEIGHT * (1 - place / math.log(_HIGHEST / _LOWEST))


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dashes: str = "none"
) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=width,
                   stroke_dasharray=dashes)  # fmt: skip
