"""Lines as SVG: where points come to lie, against the numbers by hand."""

import re
from itertools import pairwise

import pytest

from app.web.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    Mark,
    line_chart,
    nice_ticks,
    thinned,
)


def places(path):
    """The points of a drawn line."""
    return [tuple(map(float, one.split())) for one in re.split("[ML]", path)[1:]]


def test_points_lie_where_the_ticks_say():
    """Left and right ends, and the middle between two ticks."""
    chart = line_chart("Loss", [Line(name="", points=[(0, 0.0), (50, 2.5), (100, 5.0)])])
    assert [tick.words for tick in chart.x_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [tick.words for tick in chart.y_ticks] == ["0", "1", "2", "3", "4", "5"]
    first, middle, last = places(chart.lines[0].path)
    assert first == (LEFT, HEIGHT - BOTTOM)
    assert last == (WIDTH - RIGHT, TOP) == chart.lines[0].last
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2))
    assert chart.summary == "0 at step 0, 5 at step 100"
    assert chart.rows == [("0", ["0"]), ("50", ["2.5"]), ("100", ["5"])]


@pytest.mark.parametrize("n", [1, 2, 199, 200, 201, 100_000])
def test_no_line_has_more_points_than_can_be_seen(n):
    """The ends stay, and what is between is in order, each once."""
    points = [(float(k), float(k * k)) for k in range(n)]
    kept = thinned(points)
    assert len(kept) == min(n, MOST_POINTS)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert len(places(line_chart("x", [Line(name="", points=points)]).lines[0].path)) == len(kept)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0.912, 0.973), (-3, 7), (1e-9, 2e-9), (1e6, 1e9), (5, 5), (0, 0), (-2, -2)],
)
def test_ticks_are_few_round_and_around_all(low, high):
    """Also where all values are one."""
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-12 * abs(low)
    assert ticks[-1] >= high - 1e-12 * abs(high)
    assert 3 <= len(ticks) <= 8
    steps = [b - a for a, b in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_steps_have_whole_ticks():
    """There is no half step."""
    chart = line_chart("Loss", [Line(name="", points=[(1, 1.0), (2, 1.0)])])
    assert [tick.words for tick in chart.x_ticks] == ["0", "1", "2"]


def test_several_lines_are_told_apart_and_share_a_table():
    """A row for each x; a line that has no point there has an empty cell."""
    lines = [Line(name=str(k), points=[(k, k / 10), (10, 0.5)]) for k in range(4)]
    chart = line_chart("Accuracy", lines, is_share=True)
    assert len({line.style for line in chart.lines}) == 4
    assert chart.names == ["0", "1", "2", "3"]
    assert chart.rows[1] == ("1", ["", "10\u202f%", "", ""])
    assert chart.rows[-1] == ("10", ["50\u202f%"] * 4)
    assert chart.y_ticks[0].words == "0\u202f%"


def test_marks_outside_of_the_chart_are_left_out():
    """Those inside stand at their x."""
    marks = [Mark(x=5, words="in"), Mark(x=50, words="out")]
    chart = line_chart("x", [Line(name="", points=[(0, 1), (10, 2)])], marks=marks)
    (mark,) = chart.marks
    assert (mark.words, mark.at) == ("in", (LEFT + WIDTH - RIGHT) / 2)


def test_without_points_there_is_no_chart():
    """Rather than one that is empty."""
    assert line_chart("x", []) is None
    assert line_chart("x", [Line(name="", points=[])]) is None
