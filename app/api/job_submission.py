"""/v1/jobs: submit a job, and retry one; each request once, however often it is sent.

These answer what `GET /v1/jobs/{job_id}` would.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from fastapi import APIRouter
from fastapi import Request as HttpRequest
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
from app.api.http.request_bodies import invalid, json_bytes, read_ambiguous, validated
from app.api.http.responses import json_answer, problems
from app.api.job_views import family_of, retry_after, whole_job_body
from app.api.schemas.jobs import JobBody
from app.shared.engine.idempotency import KeyedRequest, take_key
from app.shared.errors import FieldProblem, GoneError, InvalidRequestError, NotFoundError
from app.shared.store.database import Connection
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job, new_id
from app.submission.examples import EXAMPLES, EXAMPLES_ON_UPLOADS
from app.submission.pointers import brief
from app.submission.requests import JOB_REQUESTS, JobRequest, Request
from app.submission.submit import problems_of_names, retry, submit
from app.submission.suggestions import did_you_mean

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
async def submit_job(request: HttpRequest) -> Response:
    """Check a job and queue it; a pipeline is queued with all its children.

    `calibrate` and `evaluate` take ids of results, or of the jobs that make them: such a job waits
    until those have succeeded.
    """
    service, owner_id = await service_of(request), await current_owner(request)
    body = await json_bytes(request)
    return await service.writes.run(partial(_submission, request, service, owner_id, body))


@router.post(
    "/{job_id}/retry",
    status_code=202,
    response_model=JobBody,
    responses=problems(400, 404, 409, 410, 422),
    openapi_extra={"parameters": [KEY_HEADER]},
    summary="Retry a job",
)
def retry_job(
    request: HttpRequest, service: ServiceDep, owner_id: OwnerDep, job_id: str
) -> Response:
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
        return created_job(owner_id, asked, write, connection)


def read_job_request(document: object) -> JobRequest:
    """A submission, as `read_json` gives it, checked field by field.

    Raises:
        InvalidRequestError: fields are wrong, missing or unknown; all of them are named.
    """
    if not isinstance(document, dict):
        wanted = f"wanted an object, got {brief(document)}"
        raise invalid([FieldProblem("", "not_an_object", wanted)])
    kind = document.get("kind")
    model = JOB_REQUESTS.get(kind) if isinstance(kind, str) else None
    if model is not None:
        return validated(model, document)
    got = brief(kind) if "kind" in document else "none"
    meant = did_you_mean(kind, JOB_REQUESTS)
    wanted = f"wanted one of {', '.join(JOB_REQUESTS)}; got {got}{meant}"
    problems = [FieldProblem("/kind", "unknown_kind", wanted)]
    beside = {name: value for name, value in document.items() if name not in ("kind", "params")}
    try:
        validated(Request, beside)
    except InvalidRequestError as error:
        problems += error.problems
    raise invalid(problems)


def _submission(
    request: HttpRequest, service: Service, owner_id: str, body: bytes
) -> Callable[[Connection], Response]:
    """A submission that has been read; what is left needs the database."""
    key = idempotency_key(request)
    document, problems = read_ambiguous(body)
    try:
        asked = read_job_request(document)
    except InvalidRequestError as error:
        problems += error.problems
    if problems:
        return partial(_refused, service, owner_id, document, problems)
    request_id = request.state.request_id

    def write(connection: Connection, job_id: str) -> Job:
        named = {"job_id": job_id, "request_id": request_id}
        return submit(connection, service.settings, owner_id, asked, **named)

    return partial(created_job, owner_id, keyed(request, key, document), write)


def _refused(
    service: Service,
    owner_id: str,
    document: object,
    problems: Sequence[FieldProblem],
    connection: Connection,
) -> NoReturn:
    """Refuse a submission for its fields and for what it names, each place once."""
    raise invalid(every_problem(connection, service, owner_id, document, problems))


def every_problem(
    connection: Connection,
    service: Service,
    owner_id: str,
    document: object,
    problems: Sequence[FieldProblem],
) -> list[FieldProblem]:
    """What is wrong with the fields of a submission and with what it names, each place once."""
    params = document.get("params") if isinstance(document, dict) else None
    named = params if isinstance(params, dict) else {}
    looked_up = problems_of_names(connection, service.settings, owner_id, named)
    every = {one.pointer: one for one in (*reversed(looked_up), *reversed(problems))}
    return list(every.values())[::-1]


def created_job(
    owner_id: str,
    asked: KeyedRequest | None,
    write: Callable[[Connection, str], Job],
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
    shown = whole_job_body(connection, job, family_of(connection, job))
    headers = {**replayed, "Location": f"/v1/jobs/{job.id}", **retry_after(job)}
    return json_answer(shown, status=202, headers=headers)


def _made_before(connection: Connection, owner_id: str, job_id: str) -> Job:
    try:
        return find_job(connection, owner_id, job_id)
    except NotFoundError:
        raise GoneError("job_deleted", f"this request has made job {job_id}, now deleted") from None
