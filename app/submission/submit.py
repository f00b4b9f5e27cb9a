"""Submit, retry and cancel: check a request against what there is, write its row and its ring.

Everything that can be known to fail is refused here, with a pointer to each field; nothing of a
refused request is written.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from app.shared.engine.jobs import insert_composite, insert_job, request_cancel
from app.shared.errors import ConflictError, FieldProblem, InvalidRequestError
from app.shared.settings import Settings
from app.shared.store.database import Connection, Database, clock
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job, NewJob
from app.shared.store.kinds import KINDS, NO_QUEUE
from app.submission.kind_checks import Plan, check_request
from app.submission.lookups import check_names
from app.submission.pipeline import children_of_pipeline
from app.submission.references import CheckContext
from app.submission.requests import (
    JOB_REQUESTS,
    JobRequest,
    PipelineRequest,
    Request,
    StudyRequest,
)
from app.submission.study import checked_study, children_of_study, dataset_of

RequestT = TypeVar("RequestT", bound=Request)
REPEATED = (
    "kind", "params", "priority", "timeout_seconds", "stall_seconds", "reuse", "name", "tags",
    "notes",
)  # fmt: skip
"""What a retry asks for again."""


def submit(
    connection: Connection,
    settings: Settings,
    owner_id: str,
    request: JobRequest,
    *,
    job_id: str,
    request_id: str | None = None,
    retry_of: str | None = None,
) -> Job:
    """Check a request and write its job, of a pipeline with all its children.

    Args:
        connection: a write transaction; what is raised has to roll it back.
        settings: of the service.
        owner_id: whose job it is to be.
        request: what was asked.
        job_id: that the job is to have.
        request_id: of the HTTP request that asked.
        retry_of: the ended job that it repeats.

    Raises:
        InvalidRequestError: it cannot be carried out, one problem per field.
    """
    context = CheckContext(connection=connection, owner_id=owner_id, settings=settings)
    request = _in_time(context, request)
    of_all: dict[str, Any] = {"id": job_id, "request_id": request_id, "retry_of": retry_of}
    if isinstance(request, StudyRequest):
        request, cells = checked_study(context, request)
        context.close()
        new = replace(_new_job(request, (dataset_of(cells), ()), settings), **of_all)
        return insert_composite(connection, owner_id, new, children_of_study(request, new, cells))
    plan = check_request(context, request)
    context.close()
    new = replace(_new_job(request, plan, settings), **of_all)
    if not isinstance(request, PipelineRequest):
        return insert_job(connection, owner_id, new)
    # What a pipeline needs, its first children wait for.
    children = children_of_pipeline(request, new, new.needs)
    return insert_composite(connection, owner_id, replace(new, needs=()), children)


def problems_of_names(
    connection: Connection, settings: Settings, owner_id: str, params: Mapping[str, Any]
) -> list[FieldProblem]:
    """What a submission that is refused for other fields names and is not there."""
    context = CheckContext(connection=connection, owner_id=owner_id, settings=settings)
    check_names(context, params)
    return context.problems


def retry(
    connection: Connection,
    settings: Settings,
    owner_id: str,
    retry_of: str,
    *,
    job_id: str,
    request_id: str | None = None,
) -> Job:
    """Submit once more what a job that ended without success was to do, as a job of its own.

    What of it has been done is not done again: results are found by their recipes, a failed job's
    checkpoint too, unless it was submitted with `reuse` false.

    Args:
        connection: a write transaction; what is raised has to roll it back.
        settings: of the service.
        owner_id: whose job it has to be.
        retry_of: the ended job.
        job_id: that the new one is to have.
        request_id: of the HTTP request that asked.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has not ended, has succeeded, or checks an upload, whose file is gone.
        InvalidRequestError: it could not be submitted today, or another version has written it.
    """
    job = find_job(connection, owner_id, retry_of)
    if not is_retryable(job):
        wanted = "wanted a job that has failed, was cancelled or has expired, and checks no upload"
        detail = f"{wanted}; {retry_of} ({job.kind}) is {job.state}"
        raise ConflictError("job_not_retryable", detail)
    # As JSON: the models are strict, and take lists for tuples and text for times from it alone.
    try:
        request = JOB_REQUESTS[job.kind].model_validate_json(json.dumps(request_of(job)))
    except ValidationError as error:
        where = "/".join(map(str, error.errors()[0]["loc"]))
        detail = f"{retry_of} asks for what this version does not take: {where}"
        raise InvalidRequestError("not_retryable_today", detail) from error
    return submit(
        connection,
        settings,
        owner_id,
        request,
        job_id=job_id,
        request_id=request_id,
        retry_of=retry_of,
    )


def is_retryable(job: Job) -> bool:
    """Whether a job has ended without success, and was submitted as such."""
    return job.is_terminal and job.state != "succeeded" and job.kind in JOB_REQUESTS


def request_of(job: Job) -> dict[str, Any]:
    """What a job's submission asked for, but for its times: the JSON that asks for it again."""
    return {name: getattr(job, name) for name in REPEATED}


def cancel(database: Database, settings: Settings, owner_id: str, job_id: str) -> Job:
    """Cancel a job, of a pipeline all children; see request_cancel for what it raises."""
    with database.write() as connection:
        # The supervisor is given its whole grace and a lease's time to tell, then not waited for.
        patience = settings.stop_grace_seconds + settings.lease_seconds
        return request_cancel(connection, owner_id, job_id, grace_seconds=patience)


def _in_time(context: CheckContext, request: RequestT) -> RequestT:
    """Check when a job may start; a start_at that has passed is none."""
    start_at, expires_at = request.start_at, request.expires_at
    if start_at is None and expires_at is None:
        return request
    # By the database's clock, which the deadline will be compared by.
    now = clock(context.connection)
    if start_at is not None and start_at <= now:
        start_at = None
        request = request.model_copy(update={"start_at": None})
    first = start_at or now
    if expires_at is not None and expires_at <= first:
        after = "start_at" if start_at else "now"
        detail = f"wanted a time after {after}, {first.isoformat()}; got {expires_at.isoformat()}"
        context.refuse("/expires_at", "expires_too_early", detail)
    return request


def _new_job(request: JobRequest, plan: Plan, settings: Settings) -> NewJob:
    dataset, needs = plan
    return NewJob(
        kind=request.kind,
        params=request.params.model_dump(mode="json"),
        dataset=dataset,
        queue=KINDS[request.kind].queue or NO_QUEUE,
        priority=request.priority,
        timeout_seconds=request.timeout_seconds,
        stall_seconds=request.stall_seconds,
        start_at=request.start_at,
        expires_at=request.expires_at,
        max_attempts=settings.max_attempts,
        reuse=request.reuse,
        name=request.name,
        tags=request.tags or None,
        notes=request.notes,
        # Several references may lead to the same job.
        needs=tuple(dict.fromkeys(needs)),
    )
