"""Results of jobs, and their files."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from app.api.schemas.bodies import Body, ResourceName, Time
from app.shared.store.catalog import Artifact, Result
from app.shared.store.kinds import RESOURCES
from app.submission.export_checks import why_not_exported
from ddcal_core.specs.exports import FORMATS, ExportFormat


class ArtifactBody(Body):
    """A file."""

    id: str = Field(description="art_ and 26 characters.")
    name: str = Field(description="What to call it on disk.", examples=["report.html"])
    media_type: str = Field(description="Of its content.", examples=["text/html"])
    n_bytes: int = Field(description="Its size.")
    sha256: str = Field(description="Of its bytes, 64 hexadecimal digits.")
    job_id: str = Field(description="The job that made it.")
    resource_id: str = Field(description="The result that it is a file of.")
    created_at: Time = Field(description="When it was stored.")
    url: str = Field(description="The path of its bytes.")


class ArtifactList(Body):
    """The files of a job."""

    items: list[ArtifactBody] = Field(description="All of them.")


class AnyResult(Body):
    """All that lists show of any result but what its job reported of it."""

    id: str = Field(description="Two to four letters for what it is, _ and 26 characters.")
    resource: ResourceName = Field(description="What it is.")
    job_id: str = Field(description="The job that made it.")
    dataset: str | None = Field(description="Name of the data set, or of the logits.")
    name: str | None = Field(description="What its owner calls it; at first as its job.")
    tags: dict[str, str] = Field(description="Key -> value, to find it by; likewise.")
    method: str | None = Field(description="Of a distilled set or a calibration.")
    accuracy: float | None = Field(
        description="In [0, 1]. Of a distilled set on validation images, when it was chosen; of a "
        "report the highest of its rows; of calibrations and models, by the newest report, of "
        "their row."
    )
    ece: float | None = Field(
        description="Expected calibration error in [0, 1], likewise; of a report the lowest of its "
        "rows, perhaps another than the most accurate; of models before calibration."
    )
    created_at: Time = Field(description="When it was made.")
    artifacts: list[ArtifactBody] = Field(description="Its files.")
    links: dict[str, str] = Field(description="Name -> path: self, and the job that made it.")


class ResultSummary(AnyResult):
    """A result as lists show it; `result_kinds` has its details field by field."""

    details: dict[str, Any]


class FormatBody(Body):
    """A format that a result can be downloaded in."""

    format: ExportFormat = Field(description="What to ask for.")
    description: str = Field(description="What is in the file, and what is lost.")
    media_type: str = Field(description="Of the file.")
    file_name: str = Field(description="What to call it on disk.")
    url: str = Field(description="The path of the file; made when it is first asked for.")
    why_not: str | None = Field(
        description="Why this result cannot be had in it; null where it can."
    )
    use: str = Field(description="Python that reads the file, which lies in the working directory.")
    needs: list[str] = Field(description="The packages that this needs, as pip calls them.")


class MadeFrom(Body):
    """What a result was made from."""

    notes: str | None = Field(description="What its owner has noted of it.")
    lineage: dict[str, list[str]] = Field(
        description="Names of data sets and ids of results it was made from, by kind."
    )
    formats: list[FormatBody] = Field(
        description="What it can be downloaded as, each with lines of Python that read it."
    )


class ResultBody(ResultSummary, MadeFrom):
    """A result with what it was made from."""


class ResultPage(Body):
    """Results of one kind, newest first."""

    items: list[ResultSummary] = Field(description="The results of this page.")
    next_page_token: str | None = Field(description="null on the last page.")


def artifact_body(artifact: Artifact) -> ArtifactBody:
    """A file's row, shown with the address of its bytes."""
    url = f"/v1/artifacts/{artifact.id}/content"
    return ArtifactBody.model_validate({**vars(artifact), "url": url})


def result_summary(result: Result, artifacts: Sequence[Artifact]) -> ResultSummary:
    """A result's row with those of the given files that are its own."""
    return ResultSummary(
        id=result.id,
        resource=result.resource,
        job_id=result.job_id,
        dataset=result.columns.get("dataset") or result.details.get("dataset"),
        name=result.columns["name"],
        tags=result.columns["tags"] or {},
        method=result.columns.get("method"),
        accuracy=result.columns.get("accuracy"),
        ece=result.columns.get("ece"),
        created_at=result.created_at,
        details=result.details,
        artifacts=[artifact_body(one) for one in artifacts if one.resource_id == result.id],
        links={"self": result_url(result), "job": f"/v1/jobs/{result.job_id}"},
    )


def result_url(result: Result) -> str:
    """Where a result is."""
    return f"/v1/{RESOURCES[result.resource].collection}/{result.id}"


def format_bodies(result: Result, artifacts: Sequence[Artifact]) -> list[FormatBody]:
    """What a result can be downloaded as, with what is in the way of the others.

    Args:
        result: its row.
        artifacts: its files.
    """
    names = {one.name for one in artifacts if one.job_id == result.job_id}
    return [
        FormatBody(
            format=word,
            description=facts.description,
            media_type=facts.media_type,
            file_name=facts.file_name,
            url=f"{result_url(result)}/content?format={word}",
            why_not=why_not_exported(result, word, names),
            use=facts.use,
            needs=list(facts.needs),
        )
        for word, facts in FORMATS[result.resource].items()
    ]
