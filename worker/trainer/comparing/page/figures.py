"""Figures of a comparison: lines over a setting, a heat map, differences, overlaid curves.

Colours come by class from the style sheet, .s0 to .s7 for what is told apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from ddcal_core.formats.comparisons import Difference, HeatMap, Series
from ddcal_core.formats.report_analyses import Spread
from worker.trainer.comparing.words import amount, points, range_words, side_words
from worker.trainer.report.page.analysis_figures import ticks
from worker.trainer.report.page.figures import drawing, element, rectangle, text

N_COLOURS = 8
_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT = 46, 12, 356, 200, 14
_CELL_WIDTH, _CELL_HEIGHT = 70, 28
_ROW_HEIGHT = 36

Range = tuple[float, float]
Line = Sequence[tuple[float, float]]


def colour(place: int) -> str:
    """Give the class of the k-th of what is told apart."""
    return f"s{place % N_COLOURS}"


def value_range(series: Sequence[Series], *, from_zero: bool) -> Range:
    """Give an axis that all values of some series fit on, so that their figures can be compared.

    Intervals of few seeds may be wider than all there is to see: they are cut at its ends.
    """
    values = [value for one in series for point in one.points for value in point.values]
    low, high = min(values), max(values)
    pad = max(0.25 * (high - low), 0.02 * abs(high), 1e-4)
    return (0.0 if from_zero else max(low - pad, 0.0)), high + pad


def series_figure(
    series: Sequence[Series], *, axis: Range, words: tuple[str, str], title: str
) -> str:
    """Draw a number over a setting: means as lines, their intervals as bands, each seed as a dot.

    Args:
        series: of one setting and metric, a colour each by their places.
        axis: of the numbers, from `value_range`.
        words: what is along the axes: the setting, the number.
        title: read out to those who do not see the picture.
    """
    xs = [point.x for one in series for point in one.points]
    across = (min(xs), max(xs))
    parts = list(_axes(across, axis, words, sorted(set(xs))))
    for place, one in enumerate(series):
        parts += _series_marks(one, place, across, axis)
    return drawing(_LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + 40, title, parts)


def _series_marks(one: Series, place: int, across: Range, axis: Range) -> Iterator[str]:
    class_ = f"own {colour(place)}"
    ends = [(point.x, point.interval) for point in one.points]
    band = [(x, interval) for x, interval in ends if interval is not None]
    # A point of one seed has no interval, and a band through it would claim one.
    if len(band) == len(ends):
        outline = [(x, high) for x, (_, high) in band] + [(x, low) for x, (low, _) in band[::-1]]
        yield element("polygon", class_=class_, points=_points(outline, across, axis))
    line = [(point.x, point.mean) for point in one.points]
    yield element("polyline", class_=class_, points=_points(line, across, axis))
    for point in one.points:
        x = _x(point.x, across)
        for value in point.values:
            yield element("circle", class_=f"{class_} seed", cx=x, cy=_y(value, axis), r=2.4)
        interval = (
            ""
            if point.interval is None
            else f", 95 % interval {' to '.join(amount(one.metric, end) for end in point.interval)}"
        )
        unit = one.unit if point.n == 1 else f"{one.unit}s"
        mean = amount(one.metric, point.mean)
        told = f"{one.calibration}, {point.x:g}: {mean}{interval}, {point.n} {unit}"
        yield element(
            "circle",
            element("title", escape(told)),
            class_=class_,
            cx=x,
            cy=_y(point.mean, axis),
            r=4,
        )


def _points(line: Line, across: Range, axis: Range) -> str:
    return " ".join(f"{_x(x, across):.1f},{_y(y, axis):.1f}" for x, y in line)


def _x(value: float, across: Range) -> float:
    # The ends are kept off the frame, for dots to be seen as a whole.
    span = across[1] - across[0] or 1.0
    return _LEFT + 8 + (_WIDTH - 16) * (value - across[0]) / span


def _y(value: float, axis: Range) -> float:
    within = min(max(value, axis[0]), axis[1])
    return _TOP + _HEIGHT * (1 - (within - axis[0]) / (axis[1] - axis[0]))


def _axes(
    across: Range,
    axis: Range,
    words: tuple[str, str],
    marks: Sequence[float],
    *,
    factor: float = 100,
) -> Iterator[str]:
    """Draw the frame: upright in units of 1 / factor, across with marks where there is room."""
    foot, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    for value in ticks(factor * axis[0], factor * axis[1]):
        y = _y(value / factor, axis)
        yield element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y)
        yield text(_LEFT - 5, y + 4, _number(value), text_anchor="end")
    last = -100.0
    for mark in marks:
        x = _x(mark, across)
        if x - last >= 26:
            yield text(x, foot + 15, _number(mark), text_anchor="middle")
            last = x
    yield element("line", class_="axis", x1=_LEFT, x2=right, y1=foot, y2=foot)
    yield text((_LEFT + right) / 2, foot + 32, words[0], text_anchor="middle")
    y = _TOP + _HEIGHT / 2
    yield text(11, y, words[1], text_anchor="middle", transform=f"rotate(-90 11 {y})")


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def heat_figure(heat_map: HeatMap, *, span: Range, title: str) -> str:
    """Draw ECE by both mask ratios: the stronger, the higher; the lowest is framed.

    Args:
        heat_map: its numbers.
        span: the lowest and the highest of all that are compared by eye.
        title: read out to those who do not see the picture.
    """
    columns, rows = heat_map.mdt_ratios, heat_map.mts_ratios
    width = min(_CELL_WIDTH, _WIDTH / len(columns))
    low, high = span
    parts: list[str] = []
    shown: dict[float, tuple[float, float]] = {}
    for y, line in enumerate(heat_map.ece):
        # The lowest ratio at the foot, as on any axis.
        top = _TOP + (len(rows) - 1 - y) * _CELL_HEIGHT
        parts.append(text(_LEFT - 5, top + 19, f"{100 * rows[y]:g}", text_anchor="end"))
        for x, ece in enumerate(line):
            if ece is None:
                continue
            left = _LEFT + x * width
            shown[ece] = (left, top)
            share = (ece - low) / (high - low) if high > low else 0.0
            box = element(
                "rect",
                class_="heat",
                x=left + 1,
                y=top + 1,
                width=width - 2,
                height=_CELL_HEIGHT - 2,
                fill_opacity=0.06 + 0.5 * share,
            )
            parts.append(
                box
                + text(
                    left + width / 2,
                    top + 19,
                    f"{100 * ece:.1f}",
                    "t in",
                    text_anchor="middle",
                )
            )
    framed = shown[min(shown)]
    parts.append(rectangle("heat low", framed[0] + 2, framed[1] + 2, width - 4, _CELL_HEIGHT - 4))
    foot, right = _TOP + len(rows) * _CELL_HEIGHT, _LEFT + len(columns) * width
    for x, ratio in enumerate(columns):
        at = _LEFT + (x + 0.5) * width
        parts.append(text(at, foot + 15, f"{100 * ratio:g}", text_anchor="middle"))
    middle = max((_LEFT + right) / 2, 150)
    parts.append(text(middle, foot + 32, "masked while distilling (MDT), %", text_anchor="middle"))
    half = (_TOP + foot) / 2
    words = "while T is fitted (MTS), %"
    parts.append(text(11, half, words, text_anchor="middle", transform=f"rotate(-90 11 {half})"))
    return drawing(_LEFT + _WIDTH + _RIGHT, max(foot + 40, 190), title, parts)


def difference_figure(differences: Sequence[Difference], *, title: str) -> str:
    """Draw paired differences, a line each: the mean, its interval, each pair as a dot."""
    ends = [value for one in differences for value in one.values]
    # Room for all pairs; an interval that is wider is cut, and its end has no bar.
    reach = 1.25 * max(*map(abs, ends), 1e-4)
    parts = []

    def x(value: float) -> float:
        return 12 + (_LEFT + _WIDTH - 12) * (min(max(value, -reach), reach) + reach) / (2 * reach)

    foot = _TOP + len(differences) * _ROW_HEIGHT
    parts.append(element("line", class_="diagonal", x1=x(0), x2=x(0), y1=_TOP, y2=foot))
    for place, one in enumerate(differences):
        y = float(_TOP + place * _ROW_HEIGHT + 26)
        said = side_words(one.of, one.against)
        parts.append(text(12, y - 13, said, "t strong halo"))
        parts += _difference_marks(one, y, x, reach)
    for value in ticks(-100 * reach, 100 * reach):
        parts.append(text(x(value / 100), foot + 15, _number(value), text_anchor="middle"))
    parts.append(element("line", class_="axis", x1=12, x2=_LEFT + _WIDTH, y1=foot, y2=foot))
    axis = "difference, percentage points"
    parts.append(text((_LEFT + _WIDTH) / 2, foot + 32, axis, text_anchor="middle"))
    return drawing(_LEFT + _WIDTH + _RIGHT, foot + 40, title, parts)


def _difference_marks(
    one: Difference, y: float, x: Callable[[float], float], reach: float
) -> Iterator[str]:
    for value in one.values:
        yield element("circle", class_="own s0 seed", cx=x(value), cy=y, r=2.4)
    told = f"{points(one.metric, one.mean)}, {one.n} pairs"
    if one.interval is not None:
        low, high = one.interval
        yield element("line", class_="own s0", x1=x(low), x2=x(high), y1=y, y2=y)
        for end in (low, high):
            if abs(end) <= reach:
                yield element("line", class_="own s0", x1=x(end), x2=x(end), y1=y - 4, y2=y + 4)
        told = f"{told}, 95 % interval {range_words(one.metric, one.interval)}"
    class_ = "own s0" if one.interval is not None else "hollow"
    yield element(
        "circle", element("title", escape(told)), class_=class_, cx=x(one.mean), cy=y, r=4.5
    )


def energy_figure(
    curves: Mapping[str, Sequence[float]], real: Sequence[float], *, title: str
) -> str:
    """Overlay how much of its energy each set's first singular values hold.

    Args:
        curves: the set's name -> cumulative energy, to 1; a colour each by their places.
        real: of random real sets, the mean.
        title: read out to those who do not see the picture.
    """
    across, axis = (0.0, 1.0), (0.0, 1.0)
    words = ("share of the singular values, largest first, %", "share of the energy, %")
    parts = list(_axes(across, axis, words, ()))
    parts += [
        text(_x(mark / 100, across), _TOP + _HEIGHT + 15, str(mark), text_anchor="middle")
        for mark in (0, 25, 50, 75, 100)
    ]

    def line(values: Sequence[float]) -> str:
        n = len(values)
        return _points(
            [(0.0, 0.0), *(((k + 1) / n, v) for k, v in enumerate(values))], across, axis
        )

    parts.append(element("polyline", class_="own real", points=line(real)))
    for place, values in enumerate(curves.values()):
        parts.append(element("polyline", class_=f"own {colour(place)}", points=line(values)))
    return drawing(_LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + 40, title, parts)


def density_figure(spreads: Mapping[str, Spread], *, axis_words: str, title: str) -> str:
    """Overlay histograms as lines of equal area on one axis, whatever their bins.

    Args:
        spreads: a name -> its histogram; a colour each by their places.
        axis_words: what is counted.
        title: read out to those who do not see the picture.
    """
    lines = {name: _density(spread) for name, spread in spreads.items()}
    edges = [x for line in lines.values() for x, _ in line]
    across = (min(edges), max(edges))
    top = 1.05 * max(y for line in lines.values() for _, y in line)
    parts = list(_axes(across, (0.0, top), (axis_words, "share of images per unit, %"), ()))
    for mark in ticks(*across):
        x = _x(mark, across)
        parts.append(text(x, _TOP + _HEIGHT + 15, _number(mark), text_anchor="middle"))
    for place, line in enumerate(lines.values()):
        drawn = _points(line, across, (0.0, top))
        parts.append(element("polyline", class_=f"own {colour(place)}", points=drawn))
    return drawing(_LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + 40, title, parts)


def _density(spread: Spread) -> list[tuple[float, float]]:
    """Give the steps of a histogram whose area is 1."""
    total = sum(spread.counts)
    steps: list[tuple[float, float]] = []
    for left, right, count in zip(spread.edges, spread.edges[1:], spread.counts, strict=False):
        height = count / total / (right - left)
        steps += [(left, height), (right, height)]
    return steps
