"""A report's table: what it makes of the rows."""

import re

import pytest

from ddcal.cli.output import NOTES, aligned, print_report, report_lines
from ddcal.report import Report


def row(**changed):
    """A row of report.json."""
    numbers = {"mean": 0.5, "std": None}
    return {
        "training_set_label": "full (9 images)",
        "calibration": "TS on validation",
        "method": "ts",
        "status": "ok",
        "statuses": {"ok": 3},
        "n_networks": 3,
        "temperature": {"mean": 0.66666, "std": 0.0123, "n": 3},
        "accuracy": {"mean": 0.9, "std": 0.01},
        "ece": {"mean": 0.1, "std": 0.02},
        "signed_gap": {"mean": -0.05, "std": 0.01},
        "null_mean": numbers,
        "null_p95": numbers,
        **changed,
    }


def report(*rows):
    """A report with these rows."""
    return Report(headline="", rows=rows)


def cells(*rows):
    """The table's lines below header and rule, split at two blanks or more."""
    lines = report_lines(report(*rows), width=1000)[2:]
    return [[cell.strip() for cell in line.split("  ") if cell] for line in lines]


def test_numbers_are_mean_and_deviation_in_percent():
    """Fractions are shown as percent, the gap with its sign."""
    assert cells(row()) == [
        ["full (9 images)"],
        [
            "TS on validation",
            "0.667 ± 0.0123",
            "90.00 ± 1.00 %",
            "10.00 ± 2.00 %",
            "-5.00 %",
            "50.00 %, 50.00 %",
        ],
    ]


def test_one_network_has_no_deviation():
    """Without a deviation there is no ±."""
    one = row(n_networks=1, temperature={"mean": 2.0, "std": None, "n": 1})
    assert cells(one)[1][1] == "2"


def test_status_stands_where_there_is_no_temperature():
    """A separable fit says so; networks that differ are counted."""
    none = {"mean": None, "std": None, "n": 0}
    two = {"mean": 0.5, "std": 0.1, "n": 2}
    found = cells(
        row(method="none", calibration="none", temperature={"mean": 1.0, "std": 0.0, "n": 3}),
        row(status="separable", statuses={"separable": 3}, temperature=none),
        row(status="mixed", statuses={"ok": 2, "separable": 1}, temperature=two),
        row(status="mixed", statuses={"ok": 2, "worse_than_chance": 1}, temperature=two),
    )
    assert [line[1] for line in found[1:]] == [
        "1 (as trained)",
        "separable",
        "0.5 ± 0.1 (1 separable)",
        "0.5 ± 0.1 (1 worse than chance)",
    ]


def test_each_training_set_is_named_once():
    """Rows stand below their training set, in the report's order."""
    found = cells(row(), row(), row(training_set_label="random"), row(training_set_label="random"))
    assert [line[0] for line in found if len(line) == 1] == ["full (9 images)", "random"]
    assert len(found) == 6


def test_a_narrow_terminal_gets_fewer_columns():
    """The last go first; never the calibration and its temperature."""
    wide = report_lines(report(row()), width=200)
    assert wide[0].split()[-1] == "%"
    for width in (90, 80, 60):
        lines = report_lines(report(row()), width=width)
        assert max(map(len, lines)) <= width
        assert "temperature" in lines[0]
    assert "accuracy" in report_lines(report(row()), width=60)[0]


def test_table_columns_are_as_wide_as_their_widest_cell():
    """Cells of a column start below each other; a heading in between widens nothing."""
    rows = [["a heading"], ["1", "2"], ["333", "4"]]
    assert aligned(["a", "long header"], rows) == [
        "a    long header",
        "───  ───────────",
        "a heading",
        "1    2",
        "333  4",
    ]


@pytest.mark.parametrize("sign", NOTES)
def test_what_stands_in_the_table_alone_is_explained(sign, monkeypatch, capsys):
    """No word on a column that a terminal has no room for, nor on what did not happen."""
    separable = row(status="separable", temperature={"mean": None, "std": None, "n": 0})
    worst = row(status="worse_than_chance", temperature={"mean": None, "std": None, "n": 0})
    print_report(report(separable, worst))
    assert NOTES[sign] in capsys.readouterr().out
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "45"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    number = {"mean": 0.9, "std": None}
    print_report(report(row(temperature={**number, "n": 3}, accuracy=number)))
    assert NOTES[sign] not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("training_set", "words"), [("full", "7 test images;"), ("elsewhere", "7 rows;")]
)
def test_a_report_says_what_it_was_measured_on(training_set, words, capsys):
    """Uploaded logits have rows, and no image."""
    print_report(Report(n_test=7, rows=[row(training_set=training_set)]))
    assert words in capsys.readouterr().out


def test_a_headline_breaks_before_a_number_not_behind_it(monkeypatch, capsys):
    """On a terminal; a pipe gets it in one line."""
    headline = "The network is over-confident by 12.5 % of all"
    shown = Report(headline=headline, rows=[row()])
    print_report(shown)
    assert capsys.readouterr().out.splitlines()[1] == headline
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "38"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    print_report(shown)
    told = [
        re.sub("\x1b[^a-zA-Z]*[a-zA-Z]", "", one) for one in capsys.readouterr().out.splitlines()
    ]
    assert told[1:3] == ["The network is over-confident by", "12.5 % of all"]
