"""What commands print: tables and colours on a terminal, plain aligned lines or JSON elsewhere."""

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from ddcal.report import TABLE_HEADER, Report, table_rows

STATE_STYLES: Mapping[str, str] = {
    "succeeded": "green",
    "ready": "green",
    "running": "cyan",
    "partial": "yellow",
    "failed": "red",
    "rejected": "red",
    "cancelled": "yellow",
    "expired": "yellow",
}
_GAP = 2
_ROOMY, _NARROWEST = 24, 8
_UNLIMITED = 10_000  # columns, where no terminal has so few


@dataclass(frozen=True)
class Column:
    """A column of a list.

    Attributes:
        name: above it.
        is_whole: never shortened, as ids are not.
        is_extra: left out where there is no room for it.
        is_number: aligned right.
    """

    name: str
    is_whole: bool = False
    is_extra: bool = False
    is_number: bool = False


class _Console(Console):
    """Rich's, which would end the program where nobody reads its output any more."""

    def on_broken_pipe(self) -> None:
        """Leave it to the edge, which knows the exit status."""
        raise BrokenPipeError


def is_terminal() -> bool:
    """Does somebody look at what is printed?"""
    return console().is_terminal


def console(*, stderr: bool = False) -> Console:
    """Where to print; made anew, as tests and pipes change where that is."""
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """Tell people, on stderr, what is going on."""
    print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Tell of something that stops nothing."""
    say(f"ddcal: warning: {text}")


def complain(text: str) -> None:
    """Tell, once, why a command could not do what it was to do."""
    say(f"ddcal: {text}")


def print_json(data: object) -> None:
    """Data for programs."""
    print(json.dumps(_plain(data), indent=2, ensure_ascii=False))


def print_list(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A list under its header; on a terminal as wide as that, elsewhere whole."""
    out = console()
    if out.is_terminal:
        filled = [place for place in range(len(columns)) if any(row[place] for row in rows)]
        columns = [columns[place] for place in filled]
        rows = [[row[place] for place in filled] for row in rows]
    widths = list_widths(columns, rows, out.width if out.is_terminal else _UNLIMITED)
    names = [column.name for column in columns]
    for number, cells in enumerate([names, *rows]):
        line = Text(style="bold" if number == 0 else "")
        for place, width in widths.items():
            cell = cells[place]
            shown = cell if len(cell) <= width else f"{cell[: width - 1]}…"
            line.pad_right(_GAP if place else 0)
            padding = " " * (width - len(shown))
            before, after = (padding, "") if columns[place].is_number else ("", padding)
            line.append(before).append(shown, STATE_STYLES.get(cell, "")).append(after)
        line.rstrip()
        out.print(line, soft_wrap=True)


def list_widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> dict[int, int]:
    """How wide each column is that there is room for, by its place.

    Where there is too little, long ones are shortened somewhat first; then extra ones go, from
    the last; then those that may be shortened share what is left.
    """
    widths = {
        place: max(len(cells[place]) for cells in ([column.name for column in columns], *rows))
        for place, column in enumerate(columns)
    }
    elastic = [place for place in widths if not columns[place].is_whole]
    _shorten(widths, elastic, _ROOMY, width)
    for place in sorted(widths, reverse=True):
        if _excess(widths, width) > 0 and columns[place].is_extra:
            del widths[place]
    _shorten(widths, [place for place in elastic if place in widths], _NARROWEST, width)
    return widths


def _shorten(widths: dict[int, int], places: Sequence[int], least: int, width: int) -> None:
    """Take from the widest of these, until all fit or none is wider than `least`."""
    while _excess(widths, width) > 0:
        place = max(places, key=widths.__getitem__, default=-1)
        if place < 0 or widths[place] <= least:
            return
        widths[place] -= 1


def _excess(widths: Mapping[int, int], width: int) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1) - width


def print_facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; values of None or nothing are left out."""
    given = [(name, _in_words(value)) for name, value in pairs if value not in _NOTHING]
    width = max((len(name) for name, _ in given), default=0)
    out = console()
    for name, value in given:
        style = STATE_STYLES.get(value, "not bold")
        for number, part in enumerate(value.splitlines()):
            line = Text(f"{'' if number else name:<{width}}  ", "bold").append(part, style)
            out.print(line, soft_wrap=True)


_NOTHING: tuple[object, ...] = (None, "", (), [], {})


def _in_words(value: object) -> str:
    """A value as people read it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case list() | tuple():
            return ", ".join(map(_in_words, value))
        case _:
            return str(value)


def print_report(report: Report) -> None:
    """A report's headline, its table as wide as fits, and what the columns mean."""
    out = console()
    width = out.width if out.is_terminal else _UNLIMITED
    out.print(f"\n{_wrapped(report.headline, width)}\n", style="bold", soft_wrap=True)
    table = "\n".join(report_lines(report, width))
    out.print(table, soft_wrap=True)
    has_images = any(row.training_set != "elsewhere" for row in report.rows)
    measured_on = "test images" if has_images else "rows"  # of uploaded logits
    notes = [f"\n{report.n_test:,} {measured_on}; ECE over {report.n_bins} bins."]
    notes += [words for sign, words in NOTES.items() if sign in table]
    out.print("\n".join(notes), style="dim" if out.is_terminal else None, soft_wrap=True)


def _wrapped(text: str, width: int) -> str:
    """Text in lines of at most so many columns, none of which begins with a percent sign."""
    return textwrap.fill(text.replace(" %", "\u00a0%"), width).replace("\u00a0", " ")


NOTES: Mapping[str, str] = {
    "±": "±: deviation over the networks.",
    "gap": "gap: confidence − accuracy, above 0 over-confident.",
    "chance": "chance: the ECE that a perfectly calibrated network would show on so many images.",
    "separable": "separable: every image fitted on is classified right, so no temperature is best; "
    "the row is the\nlimit T → 0, where ECE = 1 − accuracy.",
    "worse than chance": "worse than chance: on the images fitted on, the labels are no likelier "
    "than chance, so no temperature\nis best; such a network is taken at T → ∞, every class alike.",
}
"""What needs an explanation in a report's table -> it."""


def report_lines(report: Report, width: int) -> list[str]:
    """A report's table, without its last columns where they do not fit."""
    rows = list(table_rows(report))
    for n_columns in range(len(TABLE_HEADER), 2, -1):
        lines = aligned(TABLE_HEADER[:n_columns], [row[:n_columns] for row in rows])
        if max(map(len, lines)) <= width:
            return lines
    return aligned(TABLE_HEADER[:2], [row[:2] for row in rows])


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned left, as wide as their widest cell, a rule below the header.

    Args:
        header: the columns' names.
        rows: as many cells each; a row of one cell is a heading for those below it.
    """
    full_rows = [row for row in rows if len(row) > 1]
    widths = [max(len(row[k]) for row in (header, *full_rows)) for k in range(len(header))]
    lines = [header, ["─" * width for width in widths], *rows]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    ]


def moment(time: datetime | None) -> str:
    """A time: how long ago on a terminal, RFC 3339 in UTC elsewhere."""
    if time is None:
        return ""
    if is_terminal():
        return f"{brief((datetime.now(UTC) - time).total_seconds())} ago"
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def percent(share: float | None) -> str:
    """A share as people read it, such as 92.7 %."""
    return "" if share is None else f"{100 * share:.1f} %"


def brief(seconds: float) -> str:
    """Seconds by their largest unit: 42 s, 3 min, 2 h, 5 d."""
    for n_seconds, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= n_seconds:
            return f"{seconds // n_seconds:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(n_bytes: int | None) -> str:
    """Bytes as people read them."""
    if n_bytes is None:
        return ""
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def _plain(data: object) -> object:
    """Records as the service sent them."""
    if isinstance(data, BaseModel):
        return data.model_dump(mode="json", exclude_unset=True)
    if isinstance(data, Mapping):
        return {name: _plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(one) for one in data]
    if isinstance(data, Path):
        return str(data)
    return data
