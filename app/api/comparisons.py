"""POST /v1/comparisons: results side by side; what comes of it is listed in `results`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from app.api.http.dependencies import Service, current_owner, service_of
from app.api.http.idempotency import KEY_HEADER, idempotency_key, keyed
from app.api.http.request_bodies import invalid, json_bytes, read_ambiguous, validated
from app.api.http.responses import problems
from app.api.job_submission import created_job
from app.api.schemas.jobs import JobBody
from app.shared.errors import InvalidRequestError
from app.shared.store.database import Connection
from app.shared.store.job_records import Job
from app.submission.comparisons import ComparisonRequest, compare

router = APIRouter(prefix="/v1/comparisons", tags=["results"])

BODY: dict[str, Any] = {
    "parameters": [KEY_HEADER],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ComparisonRequest"}}
        },
    },
}


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=problems(400, 410, 413, 415, 422),
    openapi_extra=BODY,
    summary="Compare results",
)
async def create_comparison(request: HttpRequest) -> Response:
    """Put finished reports side by side: what sets them apart, and what comes of it.

    202 with the job that compares them; its result is the comparison. It takes seconds.
    """
    service, owner_id = await service_of(request), await current_owner(request)
    body = await json_bytes(request)
    return await service.writes.run(partial(_comparison, request, service, owner_id, body))


def _comparison(
    request: HttpRequest, service: Service, owner_id: str, body: bytes
) -> Callable[[Connection], Response]:
    """A request that has been read; what is left needs the database."""
    key = idempotency_key(request)
    document, found = read_ambiguous(body)
    try:
        asked = validated(ComparisonRequest, document)
    except InvalidRequestError as error:
        raise invalid([*found, *error.problems]) from None
    if found:
        raise invalid(found)
    request_id = request.state.request_id

    def write(connection: Connection, job_id: str) -> Job:
        named = {"job_id": job_id, "request_id": request_id}
        return compare(connection, service.settings, owner_id, asked, **named)

    return partial(created_job, owner_id, keyed(request, key, document), write)
