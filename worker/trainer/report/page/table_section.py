"""The page's main table: each calibration of each training set, with a small drawing."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from ddcal_core.formats.report_rows import OpenSummary, Row, Summary
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.captions import caption
from worker.trainer.report.page.figures import ece_spark, nice_ceiling
from worker.trainer.report.page.plain_words import words_of
from worker.trainer.report.page.templates import PILLS, render, safe, term_links
from worker.trainer.report.row_words import (
    FAILURE_WORDS,
    STATUS_WORDS,
    percent,
    temperature_words,
)


def table_section(report: Report) -> Markup:
    """Draw the table, with what its statuses and failures mean."""
    rows = report.rows
    ends = [max(row.before.ece.mean, row.ece.mean + (row.ece.std or 0.0)) for row in rows]
    # A little more, so that no dot sits on the edge.
    top = nice_ceiling(max(ends) * 1.02)
    sets: dict[int, list[Row]] = {}
    for row in rows:
        sets.setdefault(row.training_set_index, []).append(row)
    return render(
        "table.html",
        top=top,
        sets=[
            (own[0].training_set_label, [_line(row, top) for row in own]) for own in sets.values()
        ],
        caption=safe(caption(report, "table")),
        notes=_status_notes(rows),
        term=term_links(words_of(report)),
    )


def _status_notes(rows: Sequence[Row]) -> list[tuple[str, str]]:
    statuses = {status for row in rows for status in (row.status, *row.statuses)} - {"ok"}
    failures = {name for row in rows for name in row.failures}
    return [
        (name.replace("_", " "), words)
        for name, words in (*STATUS_WORDS.items(), *_failure_notes().items())
        if name in statuses | failures
    ]


def _failure_notes() -> dict[str, str]:
    """Give the words of each failure without its name, which stands before them."""
    said = {name: words.partition(": ")[2] for name, words in FAILURE_WORDS.items()}
    return {name: words[0].upper() + words[1:] for name, words in said.items()}


def _line(row: Row, top: float) -> Mapping[str, object]:
    return {
        "calibration": row.calibration,
        "ece": _percent_cell(row.ece),
        "spark": safe(ece_spark(row, top=top)),
        "verdict": row.verdict,
        "tone": PILLS.get(row.verdict, ""),
        "words": row.words,
        "failures": [name.replace("_", " ") for name in row.failures],
        "gap": _percent_cell(row.signed_gap, sign=True),
        "accuracy": _percent_cell(row.accuracy),
        "temperature": _small_deviation(temperature_words(row)),
        "chance": f"{_hundredths(row.null_mean.mean)} / {_hundredths(row.null_p95.mean)}",
        "nll": _number_cell(row.nll),
        "brier": f"{row.brier.mean:.3f}",
    }


def _small_deviation(words: str) -> str:
    number, plus_minus, deviation = words.partition(" ± ")
    return _with_deviation(number, deviation) if plus_minus else words


def _percent_cell(value: Summary, *, sign: bool = False) -> str:
    plus = "+" if sign and value.mean > 0 else ""
    return _summary(f"{plus}{_hundredths(value.mean)}", value, 100, 1)


def _hundredths(fraction: float) -> str:
    """Write percent without the sign, for columns that have it in their head."""
    return percent(fraction).rstrip("%").rstrip()


def _number_cell(value: OpenSummary) -> str:
    return "∞" if value.mean is None else _summary(f"{value.mean:.3f}", value, 1, 2)


def _summary(number: str, value: Summary | OpenSummary, factor: float, digits: int) -> str:
    deviation = None if value.std is None else f"{factor * value.std:.{digits}f}"
    return number if deviation is None else _with_deviation(number, deviation)


def _with_deviation(number: str, deviation: str) -> Markup:
    return Markup('{} <span class="dev">± {}</span>').format(number, deviation)
