"""Figures of the analyses: histograms one below the other on one axis, spectra over their rank."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, assert_never

from ddcal_core.formats.report_analyses import Band, SpectraBeside, Spread
from worker.trainer.report.page.figures import drawing, element, rectangle, text

_LEFT, _WIDTH, _RIGHT = 44, 360, 14
_BAND_HEIGHT, _BAND_GAP, _TOP = 58, 24, 18
_PLOT_TOP, _PLOT_HEIGHT = 12, 190
_LOWEST_SHOWN = 1e-3

SpectrumCurve = Literal["cumulative_energy", "relative_values"]


def histogram_figure(spreads: Mapping[str, Spread], *, axis: str, title: str) -> str:
    """Draw a histogram for each training set, one below the other on one axis.

    Args:
        spreads: by the training set's label, all with the same edges.
        axis: what the axis shows.
        title: read out to those who do not see the picture.
    """
    edges = next(iter(spreads.values())).edges
    parts: list[str] = []
    for place, (label, spread) in enumerate(spreads.items()):
        foot = _TOP + place * (_BAND_HEIGHT + _BAND_GAP) + _BAND_HEIGHT
        parts += _histogram(label, spread, foot)
    foot = _TOP + len(spreads) * (_BAND_HEIGHT + _BAND_GAP) - _BAND_GAP
    for at in ticks(edges[0], edges[-1]):
        x = _LEFT + _WIDTH * (at - edges[0]) / (edges[-1] - edges[0])
        parts.append(text(x, foot + 15, f"{at:g}".replace("-", "−"), text_anchor="middle"))
    parts.append(text(_LEFT + _WIDTH / 2, foot + 32, axis, text_anchor="middle"))
    return drawing(_LEFT + _WIDTH + _RIGHT, foot + 40, title, parts)


def _histogram(label: str, spread: Spread, foot: float) -> Iterator[str]:
    edges, counts = spread.edges, spread.counts
    span, highest, width = edges[-1] - edges[0], max(counts), _WIDTH / len(counts)
    for m, count in enumerate(counts):
        height = _BAND_HEIGHT * count / highest
        yield rectangle("bar", _LEFT + m * width + 0.4, foot - height, width - 0.8, height)
    yield element("line", class_="axis", x1=_LEFT, x2=_LEFT + _WIDTH, y1=foot, y2=foot)

    low, median, high = (
        _LEFT + _WIDTH * (spread.quantiles[at] - edges[0]) / span for at in ("0.05", "0.5", "0.95")
    )
    middle = foot - _BAND_HEIGHT / 2
    yield element("line", class_="whisker", x1=low, x2=high, y1=middle, y2=middle)
    yield element("circle", class_="dot", cx=median, cy=middle, r=3.2)
    yield text(_LEFT, foot - _BAND_HEIGHT - 5, label, "t strong")


def ticks(low: float, high: float) -> list[float]:
    """Give round numbers within a range, some five of them; for axes."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


def spectrum_figure(beside: SpectraBeside, name: SpectrumCurve, *, axis: str, title: str) -> str:
    """Draw one curve of the distilled set over the band of random real sets.

    Args:
        beside: of the images as they are, or about their mean.
        name: "cumulative_energy", drawn from 0 to 1, or "relative_values", from 1/1000 to 1 on a
            logarithmic axis.
        axis: what the upright axis shows.
        title: read out to those who do not see the picture.
    """
    is_logarithmic = name == "relative_values"
    own, real = _curves(beside, name)
    foot, n = _PLOT_TOP + _PLOT_HEIGHT, len(own)

    def x(k: int) -> float:
        return _LEFT + _WIDTH * (k / max(n - 1, 1))

    def y(value: float) -> float:
        # What lies below the axis is drawn on its foot, 0 too, which has no logarithm.
        if is_logarithmic:
            value = 1 - math.log10(max(value, _LOWEST_SHOWN)) / math.log10(_LOWEST_SHOWN)
        return foot - _PLOT_HEIGHT * value

    def line(values: Sequence[float]) -> list[str]:
        return [f"{x(k):.1f},{y(value):.1f}" for k, value in enumerate(values)]

    band = line(real.highest) + line(real.lowest)[::-1]
    shown = [1, 0.1, 0.01, 0.001] if is_logarithmic else [1, 0.75, 0.5, 0.25, 0]
    parts = [
        *_axes([(y(value), f"{value:g}") for value in shown], n, axis),
        element("polygon", class_="band on-validation", points=" ".join(band)),
        element("polyline", class_="curve on-validation", points=" ".join(line(real.mean))),
        element("polyline", class_="curve on-training_set", points=" ".join(line(own))),
    ]
    return drawing(_LEFT + _WIDTH + _RIGHT, foot + 40, title, parts)


def _curves(beside: SpectraBeside, name: SpectrumCurve) -> tuple[Sequence[float], Band]:
    match name:
        case "cumulative_energy":
            return beside.distilled.cumulative_energy, beside.real.cumulative_energy
        case "relative_values":
            return beside.distilled.relative_values, beside.real.relative_values
        case _:
            assert_never(name)


def _axes(marks: Sequence[tuple[float, str]], n: int, axis: str) -> Iterator[str]:
    foot, right = _PLOT_TOP + _PLOT_HEIGHT, _LEFT + _WIDTH
    for y, words in marks:
        yield element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y)
        yield text(_LEFT - 5, y + 4, words, text_anchor="end")
    for at in sorted({1, (n + 1) // 2, n}):
        x = _LEFT + _WIDTH * (at - 1) / max(n - 1, 1)
        yield text(x, foot + 15, str(at), text_anchor="middle")
    yield text(
        (_LEFT + right) / 2, foot + 32, "singular value, largest first", text_anchor="middle"
    )
    y = _PLOT_TOP + _PLOT_HEIGHT / 2
    yield text(11, y, axis, text_anchor="middle", transform=f"rotate(-90 11 {y})")
