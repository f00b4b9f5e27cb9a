"""Jobs, with their attempts, children and events."""

from typing import Any, Literal

from pydantic import Field

from app.api.schemas.bodies import Body, JobKind, JobState, ResourceName, Time
from app.api.schemas.results import result_url
from app.shared.engine.events import Event
from app.shared.store.catalog import Result
from app.shared.store.job_queries import Attempt


class ProgressBody(Body):
    """Where a running job is."""

    phase: str = Field(
        description="What it is at; of a pipeline the role of a job that runs, or waiting.",
        examples=["distill"],
    )
    step: int = Field(description="Steps of the phase done; of a pipeline, jobs ended.")
    steps: int = Field(description="Steps of the phase in all; of a pipeline, jobs.")
    fraction: float = Field(ge=0, le=1, description="Share of the phase, of a pipeline's jobs.")
    eta_seconds: float | None = Field(
        description="Estimate for the phase; null when unknown. Of a pipeline, for all that is "
        "left of it, its jobs run one after the other, by how long others like them have taken; "
        "null while one of them has no like."
    )
    values: dict[str, float] = Field(description="Numbers worth showing, such as a loss.")


class ErrorBody(Body):
    """Why a job failed."""

    type: str = Field(description="A stable word for programs.", examples=["nan_loss"])
    message: str = Field(description="What went wrong, and what to do where that is known.")


class AttemptBody(Body):
    """One run of a job."""

    attempt: int = Field(
        description="1 for the first; one that a worker gave back is not counted, and its number "
        "comes again."
    )
    worker: str = Field(description="The name of the worker that took it.")
    started_at: Time = Field(description="When it was taken.")
    ended_at: Time | None = Field(description="null while it runs.")
    outcome: Literal["succeeded", "failed", "cancelled", "released", "lost"] | None = Field(
        description="released: the worker went down and gave it back; lost: the worker was not "
        "heard of any more; null while it runs."
    )
    exit_reason: str | None = Field(
        description="How its process ended, where that was not as it should."
    )
    peak_memory_bytes: int | None = Field(description="Most that its trainer was seen to hold.")
    cpu_seconds: float | None = Field(description="Processor time that its trainer took.")
    resumed_from_step: int | None = Field(description="Where it went on from a checkpoint.")


class ChildBody(Body):
    """One job of a pipeline."""

    id: str = Field(description="Of the job.")
    role: str | None = Field(description="What it is in the pipeline.", examples=["train-random"])
    kind: JobKind = Field(description="What it computes.")
    state: JobState = Field(description="Where it is in its life.")
    reused_from: str | None = Field(description="The job whose results it has taken over.")
    progress: ProgressBody | None = Field(description="null before its first report.")
    url: str = Field(description="The path of the job.")


class ResultLink(Body):
    """A result, named."""

    resource: ResourceName = Field(description="What it is.")
    id: str = Field(description="Of the result.")
    url: str = Field(description="The path of the result.")


class JobSummary(Body):
    """A job as lists show it."""

    id: str = Field(description="job_ and 26 characters, which sort by time of submission.")
    kind: JobKind = Field(description="What it computes.")
    state: JobState = Field(
        description="Where it is in its life; a pipeline is running from the start of its first "
        "job on."
    )
    dataset: str | None = Field(
        description="Name of the data set or logits it is about; null where it names none."
    )
    role: str | None = Field(description="What it is in its pipeline.")
    parent_id: str | None = Field(description="The pipeline that it is a job of.")
    priority: int = Field(description="Higher is run first; -100 to 100.")
    timeout_seconds: int | None = Field(
        description="Longest running time of one attempt; null for no limit."
    )
    stall_seconds: int | None = Field(
        description="Longest time without progress; null for the service's own limit."
    )
    not_before_at: Time | None = Field(
        description="Its start_at, or the end of the pause before another attempt."
    )
    expires_at: Time | None = Field(description="It expires if it has not started by then.")
    attempt: int = Field(description="Number of the present or last attempt; 0 before the first.")
    max_attempts: int = Field(description="Attempts after which it fails for good.")
    reuse: bool = Field(description="May it take over the results of a job of the same recipe?")
    reused_from: str | None = Field(description="The job whose results it has taken over.")
    retry_of: str | None = Field(description="The job that it repeats.")
    request_id: str | None = Field(description="X-Request-ID of the request that submitted it.")
    name: str | None = Field(description="What its owner calls it.")
    tags: dict[str, str] = Field(description="Key -> value, to find it by.")
    method: str | None = Field(description="Of a distillation or a pipeline.")
    images_per_class: int | None = Field(description="Of the set it distils or trains on.")
    mask_ratio: float | None = Field(description="Share masked during distillation.")
    progress: ProgressBody | None = Field(description="null before its first report.")
    error: ErrorBody | None = Field(
        description="Why it has failed; of a job that waits for another attempt, why the last did."
    )
    created_at: Time = Field(description="When it was submitted.")
    queued_at: Time | None = Field(description="When it last began to wait for a worker.")
    started_at: Time | None = Field(description="When its present or last attempt began.")
    ended_at: Time | None = Field(description="null until it has ended for good.")
    links: dict[str, str] = Field(
        description="Name -> path: self, events, log, artifacts; snapshots of a distillation or "
        "pipeline; parent of a job of a pipeline, "
        "children of a pipeline or study; cancel or retry where that can be asked."
    )


class WholeJob(JobSummary):
    """All that is known of a job but what it was asked."""

    notes: str | None = Field(description="What its owner has noted of it.")
    place_in_queue: int | None = Field(
        description="While it waits for a worker: 1 for the next, 1000 for any place from there "
        "on; of a pipeline, none of whose jobs runs, its first one's."
    )
    recipe: str | None = Field(
        description="A digest of all that decides its results, known once it has started; null of "
        "a pipeline."
    )
    attempts: list[AttemptBody] = Field(description="Its runs, the first one first.")
    children: list[ChildBody] = Field(
        description="The jobs of a pipeline. Of a study, which may have thousands, those at work "
        "and the one that compares: see `links.children` for all. Else empty."
    )
    counts: dict[JobState, int] = Field(
        description="Of a pipeline or study: how many of its jobs are in each state. Else empty."
    )
    results: list[ResultLink] = Field(description="What it, or its children, have made.")


class JobBody(WholeJob):
    """A job with all that is known of it; `job_kinds` has its params field by field."""

    params: dict[str, Any]


class JobPage(Body):
    """Jobs, newest first."""

    items: list[JobSummary] = Field(description="The jobs of this page.")
    next_page_token: str | None = Field(description="null on the last page.")


class EventBody(Body):
    """One thing that happened to a job."""

    seq: int = Field(description="1 for the first, without gaps.")
    type: Literal["state", "progress", "child", "note"] = Field(
        description="child: a job of this pipeline has changed; note: something worth knowing of a "
        "run, a code and a message, such as resumed or reused.",
        examples=["state"],
    )
    data: dict[str, Any] = Field(description="What has changed, in words that go with the type.")
    created_at: Time = Field(description="When it happened.")


class EventPage(Body):
    """A job's events, oldest first."""

    items: list[EventBody] = Field(description="The events asked for; empty where none follow.")
    next_after: int = Field(description="What to ask for as `after` next.")


class SnapshotBody(Body):
    """A picture of what a distillation had learned."""

    step: int = Field(description="Steps done; 0 for what it began from.")
    n_bytes: int = Field(description="Its size.")
    url: str = Field(description="The path of the picture, a PNG.")


class SnapshotList(Body):
    """The pictures of a distillation, by rising step."""

    items: list[SnapshotBody] = Field(description="Those that there are by now.")


def attempt_body(attempt: Attempt) -> AttemptBody:
    """An attempt's row, shown."""
    return AttemptBody.model_validate(attempt, from_attributes=True)


def event_body(event: Event) -> EventBody:
    """An event's row, shown."""
    return EventBody.model_validate(event, from_attributes=True)


def result_link(result: Result) -> ResultLink:
    """A result, named."""
    return ResultLink(resource=result.resource, id=result.id, url=result_url(result))
