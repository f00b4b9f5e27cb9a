"""/v1/jobs: submit a job, and retry one; each request once, however often it is sent.

These answer what `GET /v1/jobs/{job_id}` would.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.http.dependencies import (
    OwnerDep,
    Service,
    ServiceDep,
    checked_id,
    current_owner,
    service_of,
)
from app.api.http.idempotency import KEY_HEADER, REPLAYED, idempotency_key, keyed
from app.api.http.pointers import brief
from app.api.http.request_bodies import json_bytes, read_json, validated
from app.api.http.responses import json_answer, problems
from app.api.job_views import children_of_job, retry_after, whole_job_body
from app.api.schemas.jobs import JobBody
from app.shared.engine.idempotency import KeyedRequest, take_key
from app.shared.errors import FieldProblem, GoneError, InvalidRequestError, NotFoundError
from app.shared.store.database import Connection
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job, new_id
from app.submission.examples import EXAMPLES, EXAMPLES_ON_UPLOADS
from app.submission.requests import JOB_REQUESTS, JobRequest
from app.submission.submit import retry, submit

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

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


def _created(
    owner_id: str,
    asked: KeyedRequest | None,
    write: Callable[[Connection, str], Job],
    status: int,
    connection: Connection,
) -> Response:
    """The job that `write` writes, or has written when the same request came before."""
    job_id, replayed = new_id("job"), {}
    # First of all: the same request, sent again meanwhile, waits here until this one has ended.
    known = None if asked is None else take_key(connection, owner_id, asked, job_id)
    if known is None:
        job = write(connection, job_id)
    else:
        job, replayed = _made_before(connection, owner_id, known), REPLAYED
    shown = whole_job_body(connection, job, children_of_job(connection, job))
    headers = {**replayed, "Location": f"/v1/jobs/{job.id}", **retry_after(job)}
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
