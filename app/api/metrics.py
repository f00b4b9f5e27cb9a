"""/metrics: what there is to watch, in the text format of Prometheus."""

from collections.abc import Callable, Iterator, Sequence

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.api.http.dependencies import ServiceDep
from app.api.http.responses import problems
from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.upkeep.readiness import Check, check_all
from app.shared.upkeep.scrubbing import Scrubber
from app.shared.upkeep.service_counts import ServiceCounts, count_service

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=problems(503),
    summary="Measures for Prometheus",
)
def get_metrics(service: ServiceDep) -> PlainTextResponse:
    """Jobs, queues, attempts and requests, counted; of no owner and no single job."""
    return PlainTextResponse(generate_latest(service.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class ServiceCollector(Collector):
    """What the database says of the service, and what this process knows by itself.

    Asked anew at each scrape: every process that shares a database gives the same counts of it.

    Args:
        database: read once a scrape.
        settings: of this process.
        n_streams: how many streams of events are open in this process.
        scrubber: of this process.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        n_streams: Callable[[], int],
        scrubber: Scrubber,
    ) -> None:
        self._database = database
        self._settings = settings
        self._n_streams = n_streams
        self._scrubber = scrubber

    def collect(self) -> Iterator[Metric]:
        """Count everything now.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._database.read() as connection:
            found = count_service(connection)
        yield from _families(found)
        yield _failed_checks(check_all(self._database, self._settings))
        yield GaugeMetricFamily(
            "ddcal_event_streams", "Streams of events open in this process.", self._n_streams()
        )
        yield GaugeMetricFamily(
            "ddcal_damaged_files",
            "Stored files that this process's housekeeping has found damaged or missing.",
            len(self._scrubber.damaged),
        )
        yield GaugeMetricFamily(
            "ddcal_database_complaints",
            "What this process's housekeeping has found wrong with the database.",
            len(self._scrubber.complaints),
        )


def _failed_checks(checks: Sequence[Check]) -> Metric:
    failed = GaugeMetricFamily(
        "ddcal_failed_check",
        "1 where a check of /readyz fails: the service is degraded, or takes no job.",
        labels=("check",),
    )
    for check in checks:
        failed.add_metric((check.name,), 0 if check.is_ok else 1)
    return failed


def _families(found: ServiceCounts) -> Iterator[Metric]:
    # Gauges all: what is deleted, or swept away when it is old, counts no longer.
    jobs = GaugeMetricFamily("ddcal_jobs", "Jobs by kind and state.", labels=("kind", "state"))
    for kind_and_state, n in found.jobs.items():
        jobs.add_metric(kind_and_state, n)
    depth = GaugeMetricFamily("ddcal_queue_depth", "Jobs that wait in a queue.", labels=("queue",))
    oldest = GaugeMetricFamily(
        "ddcal_queue_oldest_due_seconds",
        "Age of a queue's oldest job that may start.",
        labels=("queue",),
    )
    for name, queue in found.queues.items():
        depth.add_metric((name,), queue.depth)
        oldest.add_metric((name,), queue.oldest_due_seconds)
    attempts = GaugeMetricFamily("ddcal_attempts", "Attempts by outcome.", labels=("outcome",))
    for outcome, n in found.attempts.items():
        attempts.add_metric((outcome,), n)
    yield from (jobs, depth, oldest, attempts)
    yield GaugeMetricFamily(
        "ddcal_leases_lost",
        "Attempts whose worker was not heard of within its lease.",
        found.attempts.get("lost", 0),
    )
    yield GaugeMetricFamily("ddcal_outbox_rings", "Rings ordered and not yet rung.", found.n_rings)
