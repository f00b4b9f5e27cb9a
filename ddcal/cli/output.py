"""What commands print: tables and colours on a terminal, plain aligned lines or JSON elsewhere."""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ddcal.report import TABLE_HEADER, Report, table_rows

STATE_STYLES: Mapping[str, str] = {
    "succeeded": "green",
    "ready": "green",
    "running": "cyan",
    "failed": "red",
    "rejected": "red",
    "cancelled": "yellow",
    "expired": "yellow",
}
_UNLIMITED = 10_000  # columns, where no terminal has so few


@dataclass(frozen=True)
class Column:
    """A column of a list.

    Attributes:
        name: above it.
        is_whole: never shortened, as ids are not.
    """

    name: str
    is_whole: bool = False


def is_terminal() -> bool:
    """Does somebody look at what is printed?"""
    return console().is_terminal


def console(*, stderr: bool = False) -> Console:
    """Where to print; made anew, as tests and pipes change where that is."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


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


def print_list(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """A list under its header; shortened to a terminal's width, whole elsewhere."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.name, no_wrap=True, overflow="ignore" if column.is_whole else "ellipsis"
        )
    for row in rows:
        table.add_row(*(Text(cell, STATE_STYLES.get(cell, "")) for cell in row))
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    buffer = io.StringIO()
    Console(file=buffer, width=_UNLIMITED, color_system=None).print(table)
    print("\n".join(line.rstrip() for line in buffer.getvalue().splitlines()))


def print_facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; values of None or nothing are left out."""
    given = [(name, str(value)) for name, value in pairs if value not in (None, "", (), {})]
    width = max((len(name) for name, _ in given), default=0)
    out = console()
    for name, value in given:
        line = Text(f"{name:<{width}}  ", "bold").append(value, STATE_STYLES.get(value, "not bold"))
        out.print(line, soft_wrap=True)


def print_report(report: Report) -> None:
    """A report's headline, its table as wide as fits, and what the columns mean."""
    out = console()
    width = out.width if out.is_terminal else _UNLIMITED
    out.print(f"\n{report.headline}\n", style="bold", soft_wrap=not out.is_terminal)
    out.print("\n".join(report_lines(report, width)), soft_wrap=True)
    notes = NOTES.format(n_test=report.n_test, n_bins=report.n_bins)
    out.print(notes, style="dim" if out.is_terminal else None, soft_wrap=True)


NOTES = """
± deviation over the networks; {n_test} test images; ECE over {n_bins} bins.
gap: confidence − accuracy, above 0 over-confident.
chance: the ECE that a perfectly calibrated network would show on so many images.
separable: every image fitted on is classified right, so no temperature is best; the row is the
limit T → 0, where ECE = 1 − accuracy."""


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
        return ago((datetime.now(UTC) - time).total_seconds())
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(seconds: float) -> str:
    """How long ago, by the largest unit."""
    for n_seconds, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= n_seconds:
            return f"{seconds // n_seconds:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


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
    return data
