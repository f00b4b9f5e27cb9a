"""The table of a comparison, tidy: one row per network and calibration, a column per setting."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ddcal_core.formats.csv_cells import safe_cell
from ddcal_core.formats.exports.comparison_table import OF_RESULT, SETTING
from ddcal_core.formats.exports.report_table import COLUMNS, Cell
from ddcal_core.specs.decision_rules import SettingValue
from worker.trainer.comparing.cells import Result

TABLE = "comparison.csv"


def table_rows(results: Sequence[Result], paths: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """Give the rows of the table, result by result in the order of its report.

    Args:
        results: that have a report.
        paths: of the settings.
    """
    for result in results:
        of_result: dict[str, Cell] = {
            "report_id": result.report_id,
            "job_id": result.job_id,
            "dataset": result.dataset,
            **{f"{SETTING}{path}": setting_cell(result.settings.get(path)) for path in paths},
        }
        for row in result.table:
            yield {**of_result, **row}


def setting_cell(value: SettingValue) -> Cell:
    """Give a setting as a cell: a list as JSON, true and false as words."""
    return json.dumps(value) if isinstance(value, list | bool) else value


def write_table(path: Path, results: Sequence[Result], paths: Sequence[str]) -> None:
    """Write the table as UTF-8 with a header; numbers so that they are read back exactly."""
    settings = [f"{SETTING}{one}" for one in paths]
    columns = (*OF_RESULT, *settings, *COLUMNS)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in table_rows(results, paths):
            writer.writerow(
                {
                    name: safe_cell(cell) if isinstance(cell, str) else cell
                    for name, cell in row.items()
                }
            )
