"""/v1/jobs/{id}/events: what happened, as a page of JSON or as it happens (server-sent events)."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.api.http.event_reader import server_sent_events
from app.api.http.responses import json_answer, problems
from app.api.schemas.jobs import EventPage, event_body
from app.shared.engine.events import Event, list_events
from app.shared.errors import MalformedRequestError
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.submission.pointers import brief

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

# The column is an INTEGER, which is this large in PostgreSQL.
MAX_SEQ = 2**31 - 1
STREAM_TYPE = "text/event-stream"
# nginx holds answers back to send them in larger pieces unless it is told not to.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/{job_id}/events",
    response_model=EventPage,
    responses={
        200: {
            "description": "Events; with `Accept: text/event-stream` a stream that ends with the "
            "job, resumed by Last-Event-ID.",
            "content": {STREAM_TYPE: {"schema": {"type": "string"}}},
        },
        204: {"description": "A stream was asked for, and nothing can follow."},
        **problems(400, 404, 422, 503),
    },
    summary="Follow a job",
)
async def list_job_events(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    job_id: str,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="`seq` of the last seen.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
) -> Response:
    """Events numbered above `after`, oldest first."""
    is_stream = STREAM_TYPE in request.headers.get("accept", "")
    if is_stream:
        # Whether anything can follow is all that has to be known before a stream.
        after, limit = _resumed_after(request, after), 1
    job, events = await run_in_threadpool(_look, service, owner_id, job_id, (after, limit))
    if not is_stream:
        next_after = events[-1].seq if events else after
        items = [event_body(event) for event in events]
        return json_answer(EventPage(items=items, next_after=next_after))
    if job.is_terminal and not events:
        # 204 tells a browser's EventSource not to connect again (WHATWG HTML).
        return Response(status_code=204, headers=STREAM_HEADERS)
    service.reader.require_room()
    lines = server_sent_events(service.reader, job.id, after=after)
    return StreamingResponse(lines, media_type=STREAM_TYPE, headers=STREAM_HEADERS)


def _look(
    service: Service, owner_id: str, job_id: str, page: tuple[int, int]
) -> tuple[Job, list[Event]]:
    after, limit = page
    with service.database.read() as connection:
        job = find_job(connection, owner_id, checked_id("job", job_id))
        return job, list_events(connection, owner_id, job.id, after=after, limit=limit)


def _resumed_after(request: Request, after: int) -> int:
    """Where a stream goes on: a browser that reconnects says what it has seen last."""
    last = request.headers.get("last-event-id", "").strip()
    if not last:
        return after
    if not re.fullmatch(r"[0-9]{1,9}", last):
        raise MalformedRequestError(
            "invalid_last_event_id", f"Last-Event-ID has to be an event's number, got {brief(last)}"
        )
    return int(last)
