"""What commands print: how wide, in which words."""

import pytest

from ddcal.cli.output import Column, brief, list_widths, print_facts, print_json, print_list, size
from ddcal.records import JobRecord

COLUMNS = (
    Column("ID", is_whole=True),
    Column("JOB"),
    Column("TOOK", is_extra=True),
    Column("DATA SET", is_extra=True),
)
ROWS = [("job_" + "0" * 26, "calibrate-distilled", "1 min", "fashion_mnist")]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (200, {0: 30, 1: 19, 2: 5, 3: 13}),
        (73, {0: 30, 1: 19, 2: 5, 3: 13}),
        (72, {0: 30, 1: 19, 2: 5}),
        (57, {0: 30, 1: 19}),
        (45, {0: 30, 1: 13}),
        (20, {0: 30, 1: 8}),
    ],
)
def test_a_list_fits_a_terminal(width, shown):
    """Extra columns go first, then others are shortened; ids never are."""
    assert list_widths(COLUMNS, ROWS, width) == shown


def test_a_piped_list_is_whole(capsys):
    """However wide; no colours, no blanks at the ends."""
    print_list(COLUMNS, [(*ROWS[0][:3], "x" * 300)])
    header, line = capsys.readouterr().out.splitlines()
    assert header.startswith("ID" + " " * 30 + "JOB")
    assert header.endswith("DATA SET")
    assert line.endswith("  1 min  " + "x" * 300)
    assert "\x1b" not in header + line


def test_a_terminal_has_colours_and_its_width(monkeypatch, capsys):
    """The state is coloured, and no line is longer."""
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "60"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    columns = (Column("ID", is_whole=True), Column("STATE", is_whole=True), Column("HEADLINE"))
    print_list(columns, [("job_1", "failed", "long " * 40)])
    line = capsys.readouterr().out.splitlines()[1]
    assert "\x1b[31mfailed" in line
    assert "long…" in line or "lon…" in line or "…" in line


def test_a_terminal_has_no_column_without_content(monkeypatch, capsys):
    """A pipe has all, as who reads it counts them."""
    rows = [("job_1", "train", "", "digits")]
    print_list(COLUMNS, rows)
    assert "TOOK" in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_list(COLUMNS, rows)
    header = capsys.readouterr().out.splitlines()[0]
    assert "TOOK" not in header
    assert "DATA SET" in header


def test_a_long_name_pushes_no_column_out():
    """It is shortened first, and others to the same width."""
    columns = (
        Column("ID", is_whole=True),
        Column("JOB"),
        Column("NAME"),
        Column("TOOK", is_extra=True),
    )
    rows = [("i" * 30, "j" * 19, "n" * 100, "1 min")]
    assert list_widths(columns, rows, 200) == {0: 30, 1: 19, 2: 100, 3: 5}
    assert list_widths(columns, rows, 84) == {0: 30, 1: 19, 2: 24, 3: 5}
    assert list_widths(columns, rows, 70) == {0: 30, 1: 18, 2: 18}


def test_facts_leave_out_what_is_not_there(capsys):
    """None, and nothing."""
    print_facts([("id", "job_1"), ("error", None), ("name", ""), ("step", 0)])
    assert capsys.readouterr().out == "id    job_1\nstep  0\n"


def test_facts_are_in_words(capsys):
    """Not as Python writes them; further lines below the first."""
    print_facts([("n", 1297), ("soft", False), ("lr", 0.012345), ("of", ["a", 2]), ("ids", "x\ny")])
    assert capsys.readouterr().out.splitlines() == [
        "n     1,297", "soft  no", "lr    0.01235", "of    a, 2", "ids   x", "      y",
    ]  # fmt: skip


def test_json_is_what_the_service_said(capsys):
    """Not what this version fills in."""
    print_json([JobRecord(id="job_1", kind="train", state="queued")])
    assert capsys.readouterr().out.split() == [
        "[", "{", '"id":', '"job_1",', '"kind":', '"train",', '"state":', '"queued"', "}", "]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (42.4, "42 s"), (61, "1 min"), (7200, "2 h"), (3 * 86400, "3 d")],
)
def test_brief_times(seconds, words):
    """The largest unit alone."""
    assert brief(seconds) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (12_345, "12.3 kB"), (2_500_000_000, "2.5 GB")],
)
def test_sizes(n_bytes, words):
    """In units of a thousand."""
    assert size(n_bytes) == words
