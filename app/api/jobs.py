"""/v1/jobs: submit, look, list, cancel, delete."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from app.api.http.dependencies import (
    OwnerDep,
    Service,
    ServiceDep,
    checked_id,
    current_owner,
    service_of,
)
from app.api.http.idempotency import KEY_HEADER, REPLAYED, idempotency_key, keyed
from app.api.http.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, page_position, page_token
from app.api.http.pointers import brief
from app.api.http.preferences import PREFER, wait_seconds
from app.api.http.request_bodies import json_bytes, read_json, validated
from app.api.http.responses import IF_NONE_MATCH, is_known, json_answer, not_modified, problems
from app.api.job_logs import log_lines
from app.api.job_views import (
    job_body,
    job_etag,
    job_summary,
    retry_after_seconds,
    version_of,
)
from app.api.schemas import ArtifactList, JobBody, JobPage, artifact_body
from app.shared.engine.deletion import delete_job
from app.shared.engine.idempotency import KeyedRequest, take_key
from app.shared.engine.versions import JobVersion, find_version
from app.shared.errors import FieldProblem, GoneError, InvalidRequestError, NotFoundError
from app.shared.store.catalog import (
    Result,
    artifacts_of_job,
    attempts_of,
    children_of,
    find_job,
    list_jobs,
    results_of_jobs,
)
from app.shared.store.database import Connection
from app.shared.store.job_records import Job, new_id
from app.shared.store.job_states import JobState
from app.shared.store.kinds import MAKERS, Kind, is_composite
from app.shared.upkeep.housekeeping import delete_files
from app.submission.examples import EXAMPLES, EXAMPLES_ON_UPLOADS
from app.submission.requests import JOB_REQUESTS, JobRequest
from app.submission.submit import cancel, retry, submit
from ddcal_core.specs.fields import JOB_REFERENCE

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

JOB_ID: dict[str, Any] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "title": "Job Id"},
}
SUBMISSION_BODY: dict[str, Any] = {
    "parameters": [KEY_HEADER],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/JobRequest"},
                "examples": {**EXAMPLES, **EXAMPLES_ON_UPLOADS},
            }
        },
    },
}


class JobListQuery(BaseModel):
    """Which jobs a list shows."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = None
    kind: Kind | None = None
    dataset: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    parent: str | None = Field(
        None,
        pattern=f"^none$|{JOB_REFERENCE}",
        description="Jobs of this pipeline; `none` for jobs that are in no pipeline.",
    )
    page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    page_token: str | None = Field(None, max_length=200)

    def filters(self) -> dict[str, str]:
        """Wanted values, by column."""
        wanted = {
            "state": self.state,
            "kind": self.kind,
            "dataset": self.dataset,
            "parent_id": self.parent and self.parent.replace("none", ""),
        }
        return {name: value for name, value in wanted.items() if value is not None}


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=problems(400, 410, 413, 415, 422),
    openapi_extra=SUBMISSION_BODY,
    summary="Submit a job",
)
async def submit_job(request: Request) -> Response:
    """Check a job and queue it; a pipeline is queued with all its children.

    `calibrate` and `evaluate` take ids of results, or of the jobs that make them: such a job waits
    until those have succeeded.
    """
    service, owner_id = await service_of(request), await current_owner(request)
    body = await json_bytes(request)
    return await service.writes.run(partial(_submission, request, service, owner_id, body))


@router.get("", response_model=JobPage, responses=problems(400, 422), summary="List jobs")
def get_jobs(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[JobListQuery, Query()]
) -> Response:
    """Jobs, newest first, a page at a time."""
    filters = query.filters()
    after = page_position(query.page_token, filters)
    with service.database.read() as connection:
        found = list_jobs(
            connection, owner_id, filters=filters, after=after, limit=query.page_size + 1
        )
    shown = found[: query.page_size]
    token = page_token(shown[-1].id, filters) if len(found) > len(shown) else None
    return json_answer(JobPage(items=[job_summary(job) for job in shown], next_page_token=token))


@router.get(
    "/{job_id}",
    response_model=JobBody,
    responses={304: {"description": "If-None-Match has its ETag."}, **problems(404, 503)},
    openapi_extra={"parameters": [JOB_ID, PREFER]},
    summary="Look at a job",
)
async def get_job(request: Request) -> Response:
    """A job with its attempts, children and results; 304 when If-None-Match has its ETag.

    With `Prefer: wait=N` besides, the answer waits up to N seconds for the job to change.
    """
    wanted = checked_id("job", request.path_params["job_id"])
    service, owner_id = await service_of(request), await current_owner(request)
    look = partial(_look, request, owner_id, wanted)
    answer, seen = await service.reads.run(lambda: look)
    seconds = wait_seconds(request)
    if seen.is_terminal or seconds is None:
        return answer
    if answer.status_code == 304:
        service.reader.require_room()
        await service.reader.wait_for_change(seen, seconds=seconds)
        answer, _ = await service.reads.run(lambda: look)
    answer.headers["Preference-Applied"] = f"wait={seconds}"
    return answer


@router.post(
    "/{job_id}/cancel",
    response_model=JobBody,
    responses={
        202: {"description": "It is running and has been asked to stop.", "model": JobBody},
        **problems(404, 409),
    },
    summary="Cancel a job",
)
def cancel_job(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Cancel a job, of a pipeline every child; again on a cancelled one changes nothing."""
    job = cancel(service.database, service.settings, owner_id, checked_id("job", job_id))
    with service.database.read() as connection:
        shown = _shown(connection, owner_id, job, _children(connection, job))
    return json_answer(shown, status=200 if job.is_terminal else 202)


@router.post(
    "/{job_id}/retry",
    status_code=201,
    response_model=JobBody,
    responses=problems(400, 404, 409, 410, 422),
    openapi_extra={"parameters": [KEY_HEADER]},
    summary="Retry a job",
)
def retry_job(request: Request, service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Submit once more what failed, was cancelled or expired, as a new job; `retry_of` names it.

    Results of jobs that have succeeded are taken over, and a failed job's checkpoint is gone on
    from, unless it was submitted with `reuse` false.
    """
    wanted, request_id = checked_id("job", job_id), request.state.request_id

    def write(connection: Connection, job_id: str) -> Job:
        named = {"job_id": job_id, "request_id": request_id}
        return retry(connection, service.settings, owner_id, wanted, **named)

    asked = keyed(request, idempotency_key(request), None)
    with service.database.write() as connection:
        return _created(owner_id, asked, write, 201, connection)


@router.delete(
    "/{job_id}", status_code=204, responses=problems(404, 409), summary="Delete an ended job"
)
def remove_job(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Delete an ended job with its results and their files; a pipeline with its children."""
    with service.database.write() as connection:
        deleted = delete_job(connection, owner_id, checked_id("job", job_id))
    for one in deleted:
        delete_files(service.settings, one)
    return Response(status_code=204)


@router.get(
    "/{job_id}/log",
    response_class=PlainTextResponse,
    responses=problems(404),
    summary="Read a job's log",
)
def get_log(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """What the trainer printed, as plain text; of a pipeline the logs of its children in turn."""
    with service.database.read() as connection:
        job = find_job(connection, owner_id, checked_id("job", job_id))
        children = _children(connection, job)
    lines = log_lines(service.settings.log_folder, job, children)
    return StreamingResponse(
        lines, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
    )


@router.get(
    "/{job_id}/artifacts",
    response_model=ArtifactList,
    responses=problems(404),
    summary="List a job's files",
)
def get_artifacts(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """The files a job has made; of a pipeline those of its children."""
    with service.database.read() as connection:
        job = find_job(connection, owner_id, checked_id("job", job_id))
        makers = [job, *_children(connection, job)]
        found = [
            artifact_body(artifact)
            for maker in makers
            for artifact in artifacts_of_job(connection, owner_id, maker.id)
        ]
    return json_answer(ArtifactList(items=found))


def read_job_request(document: object) -> JobRequest:
    """A submission, as `read_json` gives it, checked field by field.

    Raises:
        InvalidRequestError: a field is wrong, missing or unknown.
    """
    if not isinstance(document, dict):
        raise _wrong("", "not_an_object", f"wanted an object, got {brief(document)}")
    kind = document.get("kind")
    model = JOB_REQUESTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        got = brief(kind) if "kind" in document else "none"
        wanted = f"wanted one of {', '.join(JOB_REQUESTS)}; got {got}"
        raise _wrong("/kind", "unknown_kind", wanted)
    return validated(model, document)


def _submission(
    request: Request, service: Service, owner_id: str, body: bytes
) -> Callable[[Connection], Response]:
    """A submission that has been read and is well-formed; what is left needs the database."""
    key = idempotency_key(request)
    document = read_json(body)
    asked = read_job_request(document)
    request_id = request.state.request_id

    def write(connection: Connection, job_id: str) -> Job:
        named = {"job_id": job_id, "request_id": request_id}
        return submit(connection, service.settings, owner_id, asked, **named)

    return partial(_created, owner_id, keyed(request, key, document), write, 202)


def _look(
    request: Request, owner_id: str, job_id: str, connection: Connection
) -> tuple[Response, JobVersion]:
    """A job's answer, and the version it is of."""
    if IF_NONE_MATCH in request.headers:
        seen = find_version(connection, owner_id, job_id)
        if is_known(request, job_etag(seen)):
            return not_modified(_poll_headers(seen)), seen
    job = find_job(connection, owner_id, job_id)
    children = _children(connection, job)
    seen = version_of(job, children)
    shown = _shown(connection, owner_id, job, children)
    return json_answer(shown, headers=_poll_headers(seen)), seen


def _poll_headers(seen: JobVersion) -> dict[str, str]:
    headers = {"ETag": job_etag(seen), "Cache-Control": "no-cache"}
    return headers | _when_to_look_again(seen)


def _when_to_look_again(job: Job | JobVersion) -> dict[str, str]:
    return {} if job.is_terminal else {"Retry-After": str(retry_after_seconds(job))}


def _created(
    owner_id: str,
    asked: KeyedRequest | None,
    write: Callable[[Connection, str], Job],
    status: int,
    connection: Connection,
) -> Response:
    """The job that `write` writes, or has written when the same request came before."""
    job_id, replayed = new_id("job"), {}
    known = None if asked is None else take_key(connection, owner_id, asked, job_id)
    if known is None:
        job = write(connection, job_id)
    else:
        job, replayed = _made_before(connection, owner_id, known), REPLAYED
    shown = _shown(connection, owner_id, job, _children(connection, job))
    headers = {**replayed, "Location": f"/v1/jobs/{job.id}", **_when_to_look_again(job)}
    return json_answer(shown, status=status, headers=headers)


def _made_before(connection: Connection, owner_id: str, job_id: str) -> Job:
    try:
        return find_job(connection, owner_id, job_id)
    except NotFoundError:
        raise GoneError("job_deleted", f"this request has made job {job_id}, now deleted") from None


def _wrong(pointer: str, code: str, detail: str) -> InvalidRequestError:
    place = pointer or "the body"
    problem = FieldProblem(pointer, code, detail)
    return InvalidRequestError("invalid_request", f"{place}: {detail}", [problem])


def _children(connection: Connection, job: Job) -> list[Job]:
    return children_of(connection, job.owner_id, job.id) if is_composite(job.kind) else []


def _shown(connection: Connection, owner_id: str, job: Job, children: list[Job]) -> JobBody:
    return job_body(
        job,
        attempts=attempts_of(connection, owner_id, job.id) if job.fence else [],
        children=children,
        results=_results(connection, owner_id, [job, *children]),
    )


def _results(connection: Connection, owner_id: str, makers: list[Job]) -> list[Result]:
    """What some jobs have made; asked only for what their kinds can make."""
    found: list[Result] = []
    for resource, maker in MAKERS.items():
        # A calibration of uploaded logits writes its own report.
        kinds = (maker, "calibrate") if resource == "report" else (maker,)
        ids = [job.id for job in makers if job.kind in kinds and job.state == "succeeded"]
        if ids:
            found += results_of_jobs(connection, owner_id, resource, ids)
    return found
