"""A report's table, tidy: one row per network and calibration, one column per number."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ddcal_core.formats.csv_cells import safe_cell
from ddcal_core.formats.report_rows import FURTHER, METRICS, NetworkRow, Row
from ddcal_core.formats.reports import Report

Cell = str | int | float | None
_OF_ROW = (
    "training_set", "training_set_label", "loss", "calibration", "method", "optimiser", "fit_on",
    "mask_ratio", "n_test", "n_bins",
)  # fmt: skip
_OF_NETWORK = ("model_id", "calibration_id", "seed", "seed_index", "status", "temperature")
_INTERVAL = ("ece_low", "ece_high")
_WORDS = frozenset(
    {
        *("training_set", "training_set_label", "loss", "calibration", "method", "optimiser"),
        *("fit_on", "model_id", "calibration_id", "status"),
    }
)
_COUNTS = frozenset({"n_test", "n_bins", "seed", "seed_index"})
COLUMNS = (*_OF_ROW, *_OF_NETWORK, *METRICS, *_INTERVAL, *FURTHER)


def report_rows(report: Report) -> Iterator[dict[str, Cell]]:
    """Give the rows of the table, in the report's order.

    Fractions are in [0, 1], and what there is no number for is None; `report.conventions` says
    what each is. The 95 % interval of the ECE is `ece_low` to `ece_high`.
    """
    for row in report.rows:
        for network in row.networks:
            yield _cells(row, network)


def _cells(row: Row, network: NetworkRow) -> dict[str, Cell]:
    low, high = network.ece_interval or (None, None)
    further = network.further
    of_row = {name: getattr(row, name) for name in _OF_ROW}
    return {
        # Without the narrow spaces that our words have on the page.
        **{
            name: one.replace("\u202f", " ") if isinstance(one, str) else one
            for name, one in of_row.items()
        },
        **{name: getattr(network, name) for name in (*_OF_NETWORK, *METRICS)},
        "ece_low": low,
        "ece_high": high,
        **{name: getattr(further, name) if further else None for name in FURTHER},
    }


def write_report_csv(path: Path, report: Report) -> None:
    """Write the table as UTF-8 with a header; numbers so that they are read back exactly."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in report_rows(report):
            writer.writerow(
                {
                    name: safe_cell(cell) if isinstance(cell, str) else cell
                    for name, cell in row.items()
                }
            )


def write_report_parquet(path: Path, report: Report) -> None:
    """Write the table as Parquet: text, int64 and double, null for what there is no number for.

    The conventions that its numbers follow stand in the schema's metadata, by their names.
    """
    schema = pa.schema([(name, column_type(name)) for name in COLUMNS], metadata=report.conventions)
    pq.write_table(pa.Table.from_pylist(list(report_rows(report)), schema), path)


def column_type(column: str) -> pa.DataType:
    """Give the type of a column of the table."""
    if column in _WORDS:
        return pa.string()
    return pa.int64() if column in _COUNTS else pa.float64()
