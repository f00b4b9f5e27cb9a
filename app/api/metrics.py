"""/metrics: what there is to watch, in the text format of Prometheus."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from app.api.http.dependencies import ServiceDep
from app.api.http.request_meter import BUCKETS, RequestMeter
from app.api.http.responses import problems
from app.shared.upkeep.service_counts import ServiceCounts, count_service

router = APIRouter(tags=["health"])

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, dict[str, object], float]


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=problems(503),
    summary="Measures for Prometheus",
)
def get_metrics(service: ServiceDep) -> PlainTextResponse:
    """Jobs, queues, attempts and requests, counted; of no owner and no single job."""
    with service.database.read() as connection:
        found = count_service(connection)
    lines = [*_of_service(found), *_of_process(service.meter, service.reader.n_streams)]
    return PlainTextResponse("\n".join(lines) + "\n", media_type=MEDIA_TYPE)


def _of_service(found: ServiceCounts) -> Iterator[str]:
    # Gauges all: what is deleted, or swept away when it is old, counts no longer.
    yield from _family(
        ("ddcal_jobs", "gauge", "Jobs by kind and state."),
        [("", {"kind": kind, "state": state}, n) for (kind, state), n in found.jobs.items()],
    )
    yield from _family(
        ("ddcal_queue_depth", "gauge", "Jobs that wait in a queue."),
        [("", {"queue": name}, queue.depth) for name, queue in found.queues.items()],
    )
    yield from _family(
        ("ddcal_queue_oldest_due_seconds", "gauge", "Age of a queue's oldest job that may start."),
        [("", {"queue": name}, queue.oldest_due_seconds) for name, queue in found.queues.items()],
    )
    yield from _family(
        ("ddcal_attempts", "gauge", "Attempts by outcome."),
        [("", {"outcome": outcome}, n) for outcome, n in found.attempts.items()],
    )
    yield from _family(
        ("ddcal_leases_lost", "gauge", "Attempts whose worker was not heard of within its lease."),
        [("", {}, found.attempts.get("lost", 0))],
    )
    yield from _family(
        ("ddcal_outbox_rings", "gauge", "Rings ordered and not yet rung."),
        [("", {}, found.n_rings)],
    )


def _of_process(meter: RequestMeter, n_streams: int) -> Iterator[str]:
    yield from _family(
        ("ddcal_event_streams", "gauge", "Streams of events open in this process."),
        [("", {}, n_streams)],
    )
    yield from _family(
        ("ddcal_http_requests_total", "counter", "Requests answered by this process."),
        [
            ("", {"route": route, "method": method, "status": status}, n)
            for (route, method, status), n in list(meter.answers.items())
        ],
    )
    yield from _family(
        ("ddcal_http_request_seconds", "histogram", "Time until an answer began."),
        _histogram(meter),
    )


def _histogram(meter: RequestMeter) -> Iterator[Sample]:
    # Copies: the event loop goes on counting.
    for (route, method), times in [(key, [*n]) for key, n in list(meter.times.items())]:
        labels: dict[str, object] = {"route": route, "method": method}
        for limit, n in zip((*BUCKETS, "+Inf"), accumulate(times), strict=True):
            yield "_bucket", {**labels, "le": limit}, n
        yield "_sum", labels, round(meter.seconds[route, method], 6)
        yield "_count", labels, sum(times)


def _family(head: tuple[str, str, str], samples: Iterable[Sample]) -> Iterator[str]:
    name, kind, text = head
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for suffix, labels, value in samples:
        inside = ",".join(f'{label}="{of}"' for label, of in labels.items())
        yield f"{name}{suffix}{{{inside}}} {value}" if inside else f"{name}{suffix} {value}"
