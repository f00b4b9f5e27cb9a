"""Lines over steps, as SVG: drawn here, so that a page shows them without a script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 40
MOST_POINTS = 200
N_TICKS = 5
N_COLOURS = 3
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: its name in the legend, and points by rising x; finite."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something worth knowing at one x, drawn across the chart."""

    x: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A place on an axis, in pixels, and what stands at it."""

    at: float
    words: str


@dataclass(frozen=True, kw_only=True)
class DrawnLine:
    """A line as SVG takes it.

    Attributes:
        path: of a `path`.
        last: the end of it; where it has one point alone, all there is to see.
        style: the classes that tell it from the others.
    """

    name: str
    path: str
    last: Point
    style: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, ready to be written down; see `parts.html`.

    Attributes:
        summary: what it shows, for who does not see it.
        names: of the lines, the heads of the columns of numbers.
        rows: each x and what the lines have there, as text.
    """

    title: str
    summary: str
    x_label: str
    lines: Sequence[DrawnLine]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    marks: Sequence[Tick]
    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class _Axis:
    """From numbers to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str = "step",
    marks: Sequence[Mark] = (),
    is_share: bool = False,
) -> Chart | None:
    """Draw lines over one x; None where there is no point.

    Args:
        title: what is drawn.
        lines: of any length: at most 200 points of each are drawn, its ends among them.
        x_label: what x is.
        marks: worth knowing on the way.
        is_share: whether y is a fraction, to be written in percent.
    """
    lines = [Line(name=one.name, points=thinned(one.points)) for one in lines if one.points]
    if not lines:
        return None
    points = [point for line in lines for point in line.points]
    x_values, y_values = [x for x, _ in points], [y for _, y in points]
    x_at = nice_ticks(min(0.0, *x_values), max(x_values), whole=True)
    y_at = nice_ticks(min(y_values), max(y_values))
    x_axis = _Axis(x_at[0], max(x_at[-1], *x_values), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(y_at[0], y_at[-1], HEIGHT - BOTTOM, TOP)
    write = _percent if is_share else _number
    return Chart(
        title=title,
        summary="; ".join(_summary(line, x_label, is_share) for line in lines),
        x_label=x_label,
        lines=[_drawn(line, n, x_axis, y_axis) for n, line in enumerate(lines)],
        x_ticks=[Tick(at=x_axis.at(x), words=_number(x)) for x in x_at],
        y_ticks=[Tick(at=y_axis.at(y), words=write(y)) for y in y_at],
        marks=[
            Tick(at=x_axis.at(one.x), words=one.words)
            for one in marks
            if x_axis.low <= one.x <= x_axis.high
        ],
        names=[line.name for line in lines],
        rows=_rows(lines, is_share),
    )


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many of some points, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(k * (len(points) - 1) / (most - 1))] for k in range(most)]


def nice_ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers, some five, the first at most `low` and the last at least `high`."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    rough = (high - low) / N_TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{k * step:.10g}") for k in range(first, last + 1)]


def _drawn(line: Line, place: int, x_axis: _Axis, y_axis: _Axis) -> DrawnLine:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in line.points]
    path = "L".join(f"{x:g} {y:g}" for x, y in places)
    style = f"series-{place % N_COLOURS} dash-{place // N_COLOURS % N_COLOURS}"
    return DrawnLine(name=line.name, path=f"M{path}", last=places[-1], style=style)


def _rows(lines: Sequence[Line], is_share: bool) -> list[tuple[str, Sequence[str]]]:
    write = _percent if is_share else _number
    by_line = [dict(line.points) for line in lines]
    every = sorted({x for line in by_line for x in line})
    return [(_number(x), [write(one[x]) if x in one else "" for one in by_line]) for x in every]


def _summary(line: Line, x_label: str, is_share: bool) -> str:
    write = _percent if is_share else _number
    (first_x, first), (last_x, last) = line.points[0], line.points[-1]
    name = f"{line.name}: " if line.name else ""
    return (
        f"{name}{write(first)} at {x_label} {_number(first_x)}, "
        f"{write(last)} at {x_label} {_number(last_x)}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g}\u202f%"
