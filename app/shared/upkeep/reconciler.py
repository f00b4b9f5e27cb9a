"""What keeps jobs moving when messages, workers or processes get lost.

Any number of copies may run: each pass is made of guarded, idempotent transactions.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from app.shared.engine.composites import unsettled_pipelines
from app.shared.engine.deadlines import due_jobs, expire, overdue_jobs, start
from app.shared.engine.jobs import is_due, settle_pipeline
from app.shared.engine.locks import lock_family
from app.shared.engine.queue import Doorbell, order_ring, relay_rings
from app.shared.engine.runs import lost_jobs, recover_lost
from app.shared.errors import UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import Database, db_now
from app.shared.store.kinds import QUEUES, Queue
from app.shared.store.tables import jobs
from app.shared.upkeep.housekeeping import keep_house
from app.shared.upkeep.scrubbing import Scrubber, missing_files

logger = logging.getLogger(__name__)

MAX_RING_PAUSE_SECONDS = 600
MAX_RUNG_FOR = 1_000  # jobs in a look: it has more to do than to ring
RELAY_PAUSE_SECONDS = 0.02


def reconcile(database: Database, settings: Settings) -> None:
    """One pass: recover what is lost, end what is overdue, start what is due, settle, ring."""
    with database.read() as connection:
        lost, overdue = lost_jobs(connection), overdue_jobs(connection)
        unsettled, due = unsettled_pipelines(connection), due_jobs(connection)
    # Expired before started: what is past both of its times does not begin.
    _one_by_one(database, overdue, expire)
    _one_by_one(database, due, start)
    _one_by_one(database, lost, recover_lost)
    _one_by_one(database, unsettled, _settle)
    ring_again(database, settings)


def _one_by_one(
    database: Database, job_ids: Iterable[str], change: Callable[[Connection, str], object]
) -> None:
    """Change jobs, each in a transaction of its own: what is done stays done.

    One that is held by somebody is passed over, and so is one that cannot be changed: it would
    stand in the way of all others, in every pass.
    """
    for job_id in job_ids:
        try:
            with database.write() as connection:
                change(connection, job_id)
        except UnavailableError:
            raise
        except Exception:
            logger.exception("job %s is passed over", job_id)


def _settle(connection: Connection, pipeline_id: str) -> None:
    if lock_family(connection, pipeline_id, skip_locked=True):
        settle_pipeline(connection, pipeline_id)


def ring_again(database: Database, settings: Settings) -> None:
    """Order one ring for each queue with a job that has been due for long and not rung for."""
    is_retry = jobs.c.not_before_at.is_not(None)
    not_rung_since = or_(jobs.c.rung_at.is_(None), jobs.c.rung_at < jobs.c.not_before_at)
    # Of a clock that has been put back since: the pause would be as long as its step.
    is_ahead = func.coalesce(jobs.c.rung_at, jobs.c.queued_at) > db_now()
    is_overdue = (
        jobs.c.state == "queued",
        is_due(),
        or_(and_(is_retry, not_rung_since), _next_ring_at(settings) < db_now(), is_ahead),
    )
    with database.read() as connection:
        rings = [ring for queue in QUEUES if (ring := _one_due(connection, queue, is_overdue))]
    if not rings:
        return
    with database.write() as connection:
        for ring in rings:
            order_ring(connection, ring.owner_id, ring.queue)
        # In the order of all who lock several jobs; one that is held is about to be claimed. Of
        # very many the others are rung for in the looks that follow.
        some = select(jobs.c.id).where(*is_overdue).order_by(jobs.c.id).limit(MAX_RUNG_FOR)
        some = some.with_for_update(skip_locked=True)
        connection.execute(update(jobs).where(jobs.c.id.in_(some)).values(rung_at=db_now()))


def _one_due(
    connection: Connection, queue: Queue, is_overdue: Sequence[ColumnElement[bool]]
) -> Row[str, str] | None:
    """A job of a queue that has not been rung for; its queue and owner."""
    one = select(jobs.c.queue, jobs.c.owner_id).where(jobs.c.queue == queue, *is_overdue)
    return connection.execute(one.limit(1)).one_or_none()


def _next_ring_at(settings: Settings) -> ColumnElement[Any]:
    """A pause after the last ring: as long as the job has waited by then, within bounds.

    So a job behind a busy worker is rung for ever more rarely; messages that nobody takes while
    it works do not pile up.
    """
    least, most = round(settings.ring_again_seconds * 1000), MAX_RING_PAUSE_SECONDS * 1000
    rung, queued = (
        type_coerce(jobs.c.rung_at, BigInteger),
        type_coerce(jobs.c.queued_at, BigInteger),
    )
    waited = rung - queued
    pause = case((waited < least, least), (waited > most, most), else_=waited)
    return func.coalesce(rung + pause, queued + least)


@dataclass(frozen=True)
class Background:
    """The three threads of a process that keep jobs moving and the house in order."""

    stopping: threading.Event
    committed: threading.Event
    threads: tuple[threading.Thread, ...]
    scrubber: Scrubber

    def stop(self) -> None:
        """Ask all to stop and wait until they have."""
        self.stopping.set()
        # The relay waits for a commit, not for the stop.
        self.committed.set()
        for thread in self.threads:
            thread.join(timeout=10)


def start_background(database: Database, settings: Settings, doorbell: Doorbell) -> Background:
    """Start the relay, which rings after each commit, the reconciler, and housekeeping.

    Housekeeping has a thread of its own: a long round holds up no job.
    """
    stopping, scrubber = threading.Event(), Scrubber(database, settings)

    def relay() -> None:
        database.committed.wait(settings.reconcile_seconds)
        # Cleared before the look: a commit during it sets it again, and the next step sees it.
        database.committed.clear()
        n_rings = relay_rings(database, doorbell)
        # What is committed meanwhile is rung for in one go.
        stopping.wait(RELAY_PAUSE_SECONDS * max(1, n_rings))

    def look() -> None:
        reconcile(database, settings)
        stopping.wait(settings.reconcile_seconds)

    def count_missing() -> None:
        missing = missing_files(database, settings, is_stopping=stopping.is_set)
        if n_missing := sum(1 for _ in missing):
            logger.warning("%d files that rows name are missing: ddcal check", n_missing)

    def tidy() -> None:
        keep = partial(keep_house, database, settings, is_stopping=stopping.is_set)
        # What one of them meets keeps none of the others from its work, nor calls for a hurry.
        _is_done("housekeeping", keep)
        _is_done("the count of missing files", count_missing)
        _is_done("the scrub", partial(scrubber.scrub, is_stopping=stopping.is_set))
        stopping.wait(settings.housekeeping_seconds)

    threads = tuple(
        threading.Thread(target=_repeat, args=(step, stopping), name=step.__name__, daemon=True)
        for step in (relay, look, tidy)
    )
    for thread in threads:
        thread.start()
    return Background(stopping, database.committed, threads, scrubber)


def _repeat(step: Callable[[], None], stopping: threading.Event) -> None:
    """Run a step until stopped; what fails is logged and tried again a second later."""
    while not stopping.is_set():
        if not _is_done(step.__name__, step):
            stopping.wait(1)


def _is_done(name: str, step: Callable[[], object]) -> bool:
    try:
        step()
    except Exception as error:  # noqa: BLE001  the thread outlives any failure of a pass
        logger.warning("%s failed and goes on: %s", name, error)
        return False
    return True
