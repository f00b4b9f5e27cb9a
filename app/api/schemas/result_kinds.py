"""A result as its resource has it: what its job reported of it, field by field.

For the document alone: answers are written from `results.ResultSummary` and `results.ResultBody`,
whatever the resource.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from app.api.schemas.bodies import Body
from app.api.schemas.results import AnyResult, MadeFrom
from ddcal_core.formats.calibrations import CalibrationValues
from ddcal_core.formats.comparisons import ComparisonHeadline
from ddcal_core.formats.expert_sets import ExpertSetRecord
from ddcal_core.formats.logits_calibrations import LogitsCalibrationValues
from ddcal_core.formats.manifests import ModelConfig, SetManifest
from ddcal_core.formats.reports import Report, ReportHeadline
from ddcal_core.specs.results import Resource

DETAILS = "What its job reported of it, in the words of the version that made it."


class _Page(Body):
    next_page_token: str | None = Field(description="null on the last page.")


class ExpertSetSummary(AnyResult):
    """A set of experts, as lists show it."""

    resource: Literal["expert_set"]
    details: ExpertSetRecord = Field(description=DETAILS)


class ExpertSetBody(ExpertSetSummary, MadeFrom):
    """A set of experts with what it was made from."""


class ExpertSetPage(_Page):
    """Newest first, unless sorted otherwise."""

    items: list[ExpertSetSummary] = Field(description="The results of this page.")


class DistilledSetSummary(AnyResult):
    """A distilled set, as lists show it."""

    resource: Literal["distilled_set"]
    details: SetManifest = Field(description=DETAILS)


class DistilledSetBody(DistilledSetSummary, MadeFrom):
    """A distilled set with what it was made from."""


class DistilledSetPage(_Page):
    """Newest first, unless sorted otherwise."""

    items: list[DistilledSetSummary] = Field(description="The results of this page.")


class ModelSummary(AnyResult):
    """A trained network, as lists show it."""

    resource: Literal["model"]
    details: ModelConfig = Field(description=DETAILS)


class ModelBody(ModelSummary, MadeFrom):
    """A trained network with what it was made from."""


class ModelPage(_Page):
    """Newest first, unless sorted otherwise."""

    items: list[ModelSummary] = Field(description="The results of this page.")


class CalibrationSummary(AnyResult):
    """A calibration, as lists show it."""

    resource: Literal["calibration"]
    details: CalibrationValues | LogitsCalibrationValues = Field(description=DETAILS)


class CalibrationBody(CalibrationSummary, MadeFrom):
    """A calibration with what it was made from."""


class CalibrationPage(_Page):
    """Newest first, unless sorted otherwise."""

    items: list[CalibrationSummary] = Field(description="The results of this page.")


class ReportSummary(AnyResult):
    """A report, as lists show it."""

    resource: Literal["report"]
    details: ReportHeadline = Field(description=DETAILS)


class ReportBody(ReportSummary, MadeFrom):
    """A report with what it was made from."""


class ReportPage(_Page):
    """Newest first, unless sorted otherwise."""

    items: list[ReportSummary] = Field(description="The results of this page.")


class ComparisonSummary(AnyResult):
    """A comparison, as lists show it."""

    resource: Literal["comparison"]
    details: ComparisonHeadline = Field(description=DETAILS)


class ComparisonBody(ComparisonSummary, MadeFrom):
    """A comparison with what it was made from."""


class ComparisonPage(_Page):
    """Newest first, unless sorted otherwise."""

    items: list[ComparisonSummary] = Field(description="The results of this page.")


PAGES: Mapping[Resource, type[Body]] = {
    "expert_set": ExpertSetPage,
    "distilled_set": DistilledSetPage,
    "model": ModelPage,
    "calibration": CalibrationPage,
    "report": ReportPage,
    "comparison": ComparisonPage,
}
BODIES: Mapping[Resource, type[Body]] = {
    "expert_set": ExpertSetBody,
    "distilled_set": DistilledSetBody,
    "model": ModelBody,
    "calibration": CalibrationBody,
    "report": ReportBody,
    "comparison": ComparisonBody,
}
"""What an answer looks like, by its resource."""


def report_schema() -> dict[str, Any]:
    """The JSON Schema of a report.json."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
