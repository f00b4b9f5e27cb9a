"""The formats of reports."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import BYTES, ZIP, FormatFacts

ReportFormat = Literal["json", "csv", "parquet", "figures"]

REPORT_FORMATS: Mapping[ReportFormat, FormatFacts] = {
    "json": FormatFacts(
        description="Everything, with the conventions that its numbers follow; each field is told "
        "by the schema at `/v1/report-schema`.",
        media_type="application/json",
        file_name="report.json",
        is_stored=True,
        use="""\
import json

with open("report.json", encoding="utf-8") as file:
    report = json.load(file)
for row in report["rows"]:
    print(row["training_set_label"], row["calibration"], row["ece"]["mean"])
""",
        needs=(),
    ),
    "csv": FormatFacts(
        description="The table, tidy: one row per network and calibration, one column per number.",
        media_type="text/csv",
        file_name="report.csv",
        use="""\
import csv

with open("report.csv", encoding="utf-8", newline="") as file:
    for row in csv.DictReader(file):
        print(row["training_set_label"], row["calibration"], row["ece"])
""",
        needs=(),
    ),
    "parquet": FormatFacts(
        description="The same table, typed, for pandas, Polars, DuckDB and Arrow; its metadata "
        "holds the conventions.",
        media_type=BYTES,
        file_name="report.parquet",
        use="""\
import pyarrow.parquet

table = pyarrow.parquet.read_table("report.parquet")
print(table.select(["training_set_label", "calibration", "ece"]).to_pylist())
""",
        needs=("pyarrow",),
    ),
    "figures": FormatFacts(
        description="A zip of the report's figures, each as SVG and PNG, in light colours.",
        media_type=ZIP,
        file_name="report.figures.zip",
        use="""\
import zipfile

with zipfile.ZipFile("report.figures.zip") as archive:
    archive.extractall("figures")
    print(archive.namelist())
""",
        needs=(),
    ),
}
