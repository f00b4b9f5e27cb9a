"""Jobs, with their attempts, children and events."""

from typing import Any

from pydantic import Field

from app.api.schemas.bodies import Body, Time
from app.api.schemas.results import result_url
from app.shared.engine.events import Event
from app.shared.store.catalog import Result
from app.shared.store.job_queries import Attempt


class ProgressBody(Body):
    """Where a running job is."""

    phase: str = Field(examples=["distill"])
    step: int
    steps: int
    fraction: float = Field(ge=0, le=1, description="Share of the phase, of a pipeline's jobs.")
    eta_seconds: float | None = Field(
        description="Estimate for the phase; null when unknown. Of a pipeline, for all that is "
        "left of it, its jobs run one after the other, by how long others like them have taken; "
        "null while one of them has no like."
    )
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
    state: str = Field(
        description="scheduled, blocked, queued, running, cancelling, succeeded, failed, cancelled "
        "or expired; a pipeline is running from the start of its first job on."
    )
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
    name: str | None = Field(description="What its owner calls it.")
    tags: dict[str, str] = Field(description="Key -> value, to find it by.")
    method: str | None = Field(description="Of a distillation or a pipeline.")
    images_per_class: int | None = Field(description="Of the set it distils or trains on.")
    mask_ratio: float | None = Field(description="Share masked during distillation.")
    progress: ProgressBody | None
    error: ErrorBody | None
    created_at: Time
    queued_at: Time | None
    started_at: Time | None
    ended_at: Time | None
    links: dict[str, str]


class JobBody(JobSummary):
    """A job with all that is known of it."""

    notes: str | None = Field(description="What its owner has noted of it.")
    place_in_queue: int | None = Field(
        description="While it waits for a worker: 1 for the next, 1000 for any place from there "
        "on; of a pipeline, none of whose jobs runs, its first one's."
    )
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


def attempt_body(attempt: Attempt) -> AttemptBody:
    """An attempt's row, shown."""
    return AttemptBody.model_validate(attempt, from_attributes=True)


def event_body(event: Event) -> EventBody:
    """An event's row, shown."""
    return EventBody.model_validate(event, from_attributes=True)


def result_link(result: Result) -> ResultLink:
    """A result, named."""
    return ResultLink(resource=result.resource, id=result.id, url=result_url(result))
