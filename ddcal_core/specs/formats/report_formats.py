"""The formats of reports."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import FormatFacts

ReportFormat = Literal["json", "csv"]

REPORT_FORMATS: Mapping[ReportFormat, FormatFacts] = {
    "json": FormatFacts(
        description="Everything, with the conventions that its numbers follow.",
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
        description="The table, tidy: one row a network and calibration, one column a number.",
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
}
