"""HTML for notebooks: small tables, everything that is not ours escaped."""

import base64
import html
from collections.abc import Iterable, Sequence

_CELL = "text-align:left;padding:2px 12px 2px 0"


def heading(text: str) -> str:
    """A line in bold."""
    return f"<div><b>{html.escape(text)}</b></div>"


def paragraph(text: str) -> str:
    """A line of text."""
    return f"<div>{html.escape(text)}</div>"


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values below each other; values of None are left out."""
    lines = [
        f'<tr><th style="{_CELL}">{html.escape(name)}</th>'
        f'<td style="{_CELL}">{html.escape(str(value))}</td></tr>'
        for name, value in rows
        if value is not None
    ]
    return f"<table>{''.join(lines)}</table>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a row of one cell is a heading for those below it."""
    names = "".join(f'<th style="{_CELL}">{html.escape(name)}</th>' for name in header)
    lines = [_line(row, len(header)) for row in rows]
    return f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def picture(png: bytes, words: str) -> str:
    """A PNG inside of the page."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'


def _line(row: Sequence[str], n_columns: int) -> str:
    if len(row) == 1:
        words = html.escape(row[0])
        return f'<tr><th colspan="{n_columns}" style="{_CELL}">{words}</th></tr>'
    cells = "".join(f'<td style="{_CELL}">{html.escape(cell)}</td>' for cell in row)
    return f"<tr>{cells}</tr>"
