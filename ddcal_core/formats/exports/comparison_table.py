"""A comparison's table as Parquet: its csv, with a type for each column."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ddcal_core.formats.csv_cells import safe_cell
from ddcal_core.formats.exports.report_table import column_type

SETTING = "setting."
"""What a setting's column begins with, before its path."""
OF_RESULT = ("report_id", "job_id", "dataset")


def write_comparison_parquet(path: Path, table: Path) -> None:
    """Write the table typed: text, int64 and double, null for what has no number.

    A setting's column is of numbers where all its values are, else of text.

    Args:
        path: to write.
        table: comparison.csv.
    """
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        columns: dict[str, list[str]] = {name: [] for name in names}
        for row in reader:
            for name in names:
                columns[name].append(_as_written(row[name]))
    types = {name: _type(name, cells) for name, cells in columns.items()}
    arrays = {
        name: pa.array(_typed(cells, types[name]), types[name]) for name, cells in columns.items()
    }
    pq.write_table(pa.table(arrays), path)


def _as_written(cell: str) -> str:
    """Take off the quote that keeps a spreadsheet from running a text."""
    return cell[1:] if cell.startswith("'") and safe_cell(cell[1:]) == cell else cell


def _type(name: str, cells: Sequence[str]) -> pa.DataType:
    if name in OF_RESULT:
        return pa.string()
    if not name.startswith(SETTING):
        return column_type(name)
    filled = [cell for cell in cells if cell]
    if filled and all(map(_is_whole, filled)):
        return pa.int64()
    return pa.float64() if filled and all(map(_is_number, filled)) else pa.string()


def _is_whole(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _typed(cells: Sequence[str], kind: pa.DataType) -> list[str | int | float | None]:
    read: Mapping[pa.DataType, type[str] | type[int] | type[float]] = {
        pa.string(): str,
        pa.int64(): int,
        pa.float64(): float,
    }
    return [read[kind](cell) if cell else None for cell in cells]
