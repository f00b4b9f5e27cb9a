"""What the command line shows."""

import io

import pytest

from ddcal.cli.console import ProgressView, bar, duration, table


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def child(state, *, role="distill", step=None, eta=None):
    """A pipeline's child as the service shows it."""
    progress = {
        "phase": "matching",
        "step": step,
        "steps": 100,
        "eta_seconds": eta,
        "values": {"loss": 0.51234},
    }
    return {
        "id": f"job_{role}",
        "role": role,
        "kind": "distill",
        "state": state,
        "progress": None if step is None else progress,
    }


def pipeline(*children, state="blocked"):
    """A pipeline as the service shows it."""
    return {
        "id": "job_1",
        "role": None,
        "kind": "pipeline",
        "state": state,
        "progress": None,
        "children": list(children),
    }


def test_plain_stream_gets_a_line_for_each_change_only():
    """Without a terminal a line comes when job, state or phase change, and each ten seconds."""
    stream, now = io.StringIO(), [0.0]
    view = ProgressView(stream=stream, clock=lambda: now[0])
    view.show(pipeline(child("queued")))
    for second in range(12):
        now[0] = float(second)
        view.show(pipeline(child("running", step=second, eta=100.0 - second)))
    view.close()
    lines = stream.getvalue().splitlines()
    assert [line.partition(" s  ")[0].strip() for line in lines] == ["0.0", "0.0", "10.0"]
    assert lines[0].endswith("[0/1] distill queued")
    assert lines[2].endswith("10/100 about 1 min 30 s left loss 0.5123")


def test_terminal_gets_one_line_that_is_redrawn():
    """On a terminal each look goes over the last, blanks over what was longer."""
    stream, now = Terminal(), iter([0.0, 1.0, 2.0])
    view = ProgressView(stream=stream, clock=lambda: next(now))
    view.show(pipeline(child("running", step=40)))
    view.show(pipeline(child("running", step=50, eta=5.2)))
    view.show(pipeline(child("succeeded"), state="succeeded"))
    view.close()
    _, _, second, last = stream.getvalue().split("\r")
    assert "distill matching ████████████░░░░░░░░░░░░ 50/100 about 5 s left loss 0" in second
    assert last.strip() == "[1/1] pipeline succeeded"
    assert len(last.rstrip("\n")) == len(second)


@pytest.mark.parametrize(
    ("step", "steps", "cells"), [(0, 10, 0), (5, 10, 12), (10, 10, 24), (11, 10, 24), (0, 0, 0)]
)
def test_bar_fills_with_the_steps(step, steps, cells):
    """Full at the last step and never fuller."""
    assert bar(step, steps) == "█" * cells + "░" * (24 - cells)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_duration_in_words(seconds, words):
    """Seconds up to a minute, minutes up to an hour."""
    assert duration(seconds) == words


def test_table_columns_are_as_wide_as_their_widest_cell():
    """Cells of a column start below each other; a heading in between widens nothing."""
    rows = [["a heading"], ["1", "2"], ["333", "4"]]
    assert table(["a", "long header"], rows).splitlines() == [
        "a    long header",
        "───  ───────────",
        "a heading",
        "1    2",
        "333  4",
    ]
