"""The bodies of answers: what each resource looks like, and how it is made from its row."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.api.http.responses import rfc3339
from app.shared.engine.events import Event
from app.shared.store.catalog import Artifact, Attempt, Result
from app.shared.store.kinds import RESOURCES

Time = Annotated[datetime, PlainSerializer(rfc3339, when_used="json")]
"""An aware time, written as RFC 3339 in UTC with milliseconds."""


class Body(BaseModel):
    """An answer's body, complete when it is made."""

    model_config = ConfigDict(frozen=True)


class FieldProblemBody(Body):
    """One field that cannot be."""

    pointer: str = Field(
        description="JSON pointer into the body; /query/NAME and /path/NAME for parameters.",
        examples=["/params/distill/mask/ratio"],
    )
    code: str = Field(examples=["less_than"])
    detail: str = Field(examples=["wanted less than 1, got 1.5"])


class ProblemBody(Body):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(examples=["urn:ddcal:problem:invalid_request"])
    title: str
    status: int
    detail: str = Field(description="What was wanted and what was got.")
    instance: str
    code: str = Field(description="A stable word for programs.")
    request_id: str
    errors: list[FieldProblemBody]


class ProgressBody(Body):
    """Where a running job is."""

    phase: str = Field(examples=["distill"])
    step: int
    steps: int
    fraction: float = Field(ge=0, le=1, description="Share of the phase, of a pipeline's jobs.")
    eta_seconds: float | None = Field(description="Estimate for the phase; null when unknown.")
    values: dict[str, float] = Field(description="Numbers worth showing, such as a loss.")


class ErrorBody(Body):
    """Why a job failed."""

    type: str = Field(examples=["nan_loss"])
    message: str


class AttemptBody(Body):
    """One run of a job."""

    attempt: int
    worker: str
    started_at: Time
    ended_at: Time | None
    outcome: str | None
    exit_reason: str | None
    peak_memory_bytes: int | None = Field(description="Most that its trainer was seen to hold.")
    cpu_seconds: float | None = Field(description="Processor time that its trainer took.")
    resumed_from_step: int | None = Field(description="Where it went on from a checkpoint.")


class ChildBody(Body):
    """One job of a pipeline."""

    id: str
    role: str | None
    kind: str
    state: str
    reused_from: str | None = Field(description="The job whose results it has taken over.")
    progress: ProgressBody | None
    url: str


class ResultLink(Body):
    """A result, named."""

    resource: str = Field(examples=["distilled_set"])
    id: str
    url: str


class JobSummary(Body):
    """A job as lists show it."""

    id: str
    kind: str
    state: str
    dataset: str | None
    role: str | None = Field(description="What it is in its pipeline.")
    parent_id: str | None
    priority: int
    timeout_seconds: int | None
    stall_seconds: int | None
    not_before_at: Time | None = Field(
        description="Its start_at, or the end of the pause before another attempt."
    )
    expires_at: Time | None = Field(description="It expires if it has not started by then.")
    attempt: int
    max_attempts: int
    reuse: bool = Field(description="May it take over the results of a job of the same recipe?")
    reused_from: str | None = Field(description="The job whose results it has taken over.")
    retry_of: str | None = Field(description="The job that it repeats.")
    request_id: str | None = Field(description="X-Request-ID of the request that submitted it.")
    progress: ProgressBody | None
    error: ErrorBody | None
    created_at: Time
    queued_at: Time | None
    started_at: Time | None
    ended_at: Time | None
    links: dict[str, str]


class JobBody(JobSummary):
    """A job with all that is known of it."""

    params: dict[str, Any] = Field(description="As submitted, defaults filled in.")
    recipe: str | None = Field(
        description="A digest of all that decides its results, known once it has started; null of "
        "a pipeline."
    )
    attempts: list[AttemptBody]
    children: list[ChildBody] = Field(description="The jobs of a pipeline; else empty.")
    results: list[ResultLink] = Field(description="What it, or its children, have made.")


class JobPage(Body):
    """Jobs, newest first."""

    items: list[JobSummary]
    next_page_token: str | None = Field(description="null on the last page.")


class EventBody(Body):
    """One thing that happened to a job."""

    seq: int = Field(description="1 for the first, without gaps.")
    type: str = Field(
        description="state, progress, child (of a pipeline) or note (a code and a message, such "
        "as resumed or reused).",
        examples=["state"],
    )
    data: dict[str, Any]
    created_at: Time


class EventPage(Body):
    """A job's events, oldest first."""

    items: list[EventBody]
    next_after: int = Field(description="What to ask for as `after` next.")


class ArtifactBody(Body):
    """A file."""

    id: str
    name: str = Field(examples=["report.html"])
    media_type: str
    n_bytes: int
    sha256: str
    job_id: str
    resource_id: str
    created_at: Time
    url: str = Field(description="Where its bytes are.")


class ArtifactList(Body):
    """The files of a job."""

    items: list[ArtifactBody]


class ResultSummary(Body):
    """A set of experts, distilled set, model, calibration or report, as lists show it."""

    id: str
    resource: str
    job_id: str
    dataset: str | None
    created_at: Time
    details: dict[str, Any] = Field(description="What its job reported of it.")
    artifacts: list[ArtifactBody]
    links: dict[str, str]


class ResultBody(ResultSummary):
    """A result with what it was made from."""

    lineage: dict[str, list[str]] = Field(
        description="Names of data sets and ids of results it was made from, by kind."
    )


class ResultPage(Body):
    """Results of one kind, newest first."""

    items: list[ResultSummary]
    next_page_token: str | None


class FactsBody(Body):
    """What is known of a data set's content."""

    image_shape: list[int] = Field(description="(C, H, W).", examples=[[1, 8, 8]])
    n_classes: int
    class_names: list[str]
    n_train: int
    n_test: int
    train_class_counts: list[int]
    test_class_counts: list[int]
    mean: list[float] = Field(description="Of each channel, of pixels in [0, 1].")
    std: list[float]


class UploadProblem(Body):
    """Why an upload was rejected."""

    code: str
    detail: str


class ImageFilesBody(Body):
    """What was asked of an upload of image files, and found in it."""

    n_images: int
    n_ignored: int = Field(description="Files passed over, such as .DS_Store and __MACOSX.")
    split: str = Field(description="By folders (train, test) or by seed.", examples=["folders"])
    test_fraction: float | None = Field(description="Of each class, where split by seed.")
    seed: int | None
    resize: int | None = Field(description="Side in pixels; null: as the files are.")
    colour: str | None = Field(description="grey or rgb; null: as the files are.")


class DatasetBody(Body):
    """A data set, named or uploaded."""

    name: str
    source: str = Field(description="named or upload.")
    state: str = Field(description="ready, checking, rejected, or missing (a named set's files).")
    available: bool = Field(description="Can a job use it now?")
    why_not: str | None = Field(description="Why it is not available.")
    facts: FactsBody | None
    image_files: ImageFilesBody | None = Field(description="Of a zip of image files alone.")
    problem: UploadProblem | None
    n_bytes: int | None
    sha256: str | None
    job_id: str | None = Field(description="The intake job of an upload.")
    created_at: Time | None
    links: dict[str, str]


class DatasetList(Body):
    """All data sets: the named ones, then the uploads."""

    items: list[DatasetBody]


class LogitsFactsBody(Body):
    """What is known of uploaded logits."""

    n_classes: int
    class_names: list[str]
    n_fit: int = Field(description="Rows to fit on.")
    n_test: int = Field(description="Rows to measure on; 0: the rows fitted on are measured.")
    fit_class_counts: list[int]
    test_class_counts: list[int]
    dtype: str = Field(examples=["float32"])


class LogitsBody(Body):
    """Uploaded logits with their labels."""

    name: str
    state: str = Field(description="checking, ready or rejected.")
    available: bool = Field(description="Can a job use them now?")
    why_not: str | None = Field(description="Why they are not available.")
    facts: LogitsFactsBody | None
    problem: UploadProblem | None
    n_bytes: int
    sha256: str
    job_id: str = Field(description="The intake job that checks them.")
    created_at: Time
    links: dict[str, str]


class LogitsList(Body):
    """All uploaded logits."""

    items: list[LogitsBody]


class HealthBody(Body):
    """The service answers."""

    status: str = Field(examples=["ok"])


class CheckBody(Body):
    """One thing that the service needs, looked at."""

    name: str = Field(examples=["broker"])
    status: str = Field(description="ok, or a word for what is wrong.", examples=["ok"])
    detail: str


class ReadinessBody(Body):
    """The service can do its work."""

    status: str = Field(description="ok, or degraded: jobs are taken in and begin late.")
    checks: list[CheckBody]


class VersionBody(Body):
    """Which version answers."""

    version: str = Field(description="Of the installed package; PEP 440.")


def attempt_body(attempt: Attempt) -> AttemptBody:
    """An attempt's row, shown."""
    return AttemptBody.model_validate(attempt, from_attributes=True)


def event_body(event: Event) -> EventBody:
    """An event's row, shown."""
    return EventBody.model_validate(event, from_attributes=True)


def artifact_body(artifact: Artifact) -> ArtifactBody:
    """A file's row, shown with the address of its bytes."""
    url = f"/v1/artifacts/{artifact.id}/content"
    return ArtifactBody.model_validate({**vars(artifact), "url": url})


def result_link(result: Result) -> ResultLink:
    """A result, named."""
    return ResultLink(resource=result.resource, id=result.id, url=_result_url(result))


def result_summary(result: Result, artifacts: Sequence[Artifact]) -> ResultSummary:
    """A result's row with those of the given files that are its own."""
    return ResultSummary(
        id=result.id,
        resource=result.resource,
        job_id=result.job_id,
        dataset=result.columns.get("dataset") or result.details.get("dataset"),
        created_at=result.created_at,
        details=result.details,
        artifacts=[artifact_body(one) for one in artifacts if one.resource_id == result.id],
        links={"self": _result_url(result), "job": f"/v1/jobs/{result.job_id}"},
    )


def _result_url(result: Result) -> str:
    return f"/v1/{RESOURCES[result.resource].collection}/{result.id}"
