"""`compare`: reports side by side -> a comparison, with the verdicts of rules fixed beforehand."""

from typing import Annotated

from pydantic import Field

from ddcal_core.specs.decision_rules import DecisionRules, SettingPath, SettingValue
from ddcal_core.specs.fields import REPORT_REFERENCE, Spec

MAX_COMPARED = 2_000
MOST_SETTINGS = 200
Settings = Annotated[
    dict[SettingPath, SettingValue],
    Field(max_length=MOST_SETTINGS, description="Path in the params of a pipeline -> value."),
]


class ComparedReport(Spec):
    """A report, and what sets it apart from the others."""

    report: str = Field(
        pattern=REPORT_REFERENCE, description="The report, or the evaluate job that makes it."
    )
    settings: Settings = Field({}, description="What sets it apart: path in its params -> value.")


class CompareParams(Spec):
    """The params of a `compare` job."""

    reports: list[ComparedReport] = Field(
        min_length=1, max_length=MAX_COMPARED, description="What is compared."
    )
    base: Settings | None = Field(
        None,
        description="Settings of what the others are compared with, each but the seed; what it "
        "leaves out, and with null all, is the first value of each.",
    )
    rules: DecisionRules = Field(
        [], max_length=50, description="Statements to decide. Default: none."
    )
