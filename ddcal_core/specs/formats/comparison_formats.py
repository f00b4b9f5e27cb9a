"""The formats of comparisons."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import BYTES, FormatFacts

ComparisonFormat = Literal["json", "csv", "parquet"]

COMPARISON_FORMATS: Mapping[ComparisonFormat, FormatFacts] = {
    "json": FormatFacts(
        description="Everything: what was compared, the differences with their intervals, the "
        "verdicts.",
        media_type="application/json",
        file_name="comparison.json",
        is_stored=True,
        use="""\
import json

with open("comparison.json", encoding="utf-8") as file:
    comparison = json.load(file)
print(comparison["headline"])
for row in comparison["rows"]:
    settings = comparison["results"][row["result"]]["settings"]
    print(settings, row["training_set"], row["calibration"], row["ece"]["mean"])
""",
        needs=(),
    ),
    "csv": FormatFacts(
        description="The tables of all reports as one, tidy: one row per network and calibration, "
        "one column per number, and a column `setting.PATH` for each setting that differs.",
        media_type="text/csv",
        file_name="comparison.csv",
        is_stored=True,
        use="""\
import csv

with open("comparison.csv", encoding="utf-8", newline="") as file:
    for row in csv.DictReader(file):
        settings = {name: row[name] for name in row if name.startswith("setting.")}
        print(settings, row["training_set"], row["calibration"], row["ece"])
""",
        needs=(),
    ),
    "parquet": FormatFacts(
        description="The same table, typed, for pandas, Polars, DuckDB and Arrow.",
        media_type=BYTES,
        file_name="comparison.parquet",
        use="""\
import pyarrow.parquet

table = pyarrow.parquet.read_table("comparison.parquet")
print(table.select(["training_set", "calibration", "ece"]).to_pylist())
""",
        needs=("pyarrow",),
    ),
}
