"""One run of one job, from its claim to its end; every write here carries the run's fence.

A Job as `claim_next` gave it is the run: its fence and attempt do not change while it lasts.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, insert, or_, select, update

from app.shared.engine import events
from app.shared.engine.jobs import is_due, make_move, move, moving
from app.shared.engine.locks import lock_family
from app.shared.engine.queue import order_ring
from app.shared.errors import FencedOutError
from app.shared.store.database import db_now
from app.shared.store.job_records import JOB_COLUMNS, Ending, Job, job_of
from app.shared.store.job_states import ACTIVE_STATES, JobState
from app.shared.store.kinds import ATOMIC_KINDS, COMPOSITE_KINDS
from app.shared.store.lease_clock import has_passed, lease_now
from app.shared.store.tables import attempts, job_deps, jobs

MAX_RETRY_SECONDS = 300
RESUMED_FROM_STEP = "resumed_from_step"
_LONG_AGO = datetime.fromtimestamp(0, UTC)  # by any clock of leases

# Built once: building them takes longer than all else between a bell and the start of its job.
_IS_NEXT = (
    *(jobs.c.queue == bindparam("of"), jobs.c.state == "queued", is_due()),
    jobs.c.kind.in_(ATOMIC_KINDS),
)
_ANOTHER = select(jobs.c.owner_id).where(*_IS_NEXT).limit(1)
_NEXT = (
    select(jobs.c.id)
    .where(*_IS_NEXT)
    .order_by(jobs.c.priority.desc(), jobs.c.id)
    .limit(1)
    # Each claimer takes another row instead of waiting. SQLite ignores it: one writes at a time.
    .with_for_update(skip_locked=True)
)
_CLAIMING = moving(
    ("queued",),
    "running",
    fence=jobs.c.fence + 1,
    attempt=jobs.c.attempt + 1,
    lease_owner=bindparam("worker"),
    lease_until_at=lease_now("lease"),
    started_at=case((jobs.c.started_at.is_(None), db_now()), else_=jobs.c.started_at),
    progress=None,
    error=None,
)
_BEGINNING = insert(attempts).values(started_at=db_now())


def claim_next(
    connection: Connection, *, queue: str, worker: str, lease_seconds: float
) -> Job | None:
    """Edge e: take the next job of a queue, or None when there is none.

    One of a kind that a newer version has submitted is left to a newer worker.

    The answer's fence has to come with every later write of this run.
    """
    job_id = connection.execute(_NEXT, {"of": queue}).scalar_one_or_none()
    if job_id is None:
        return None
    lease = round(lease_seconds * 1000)
    job = make_move(connection, _CLAIMING, job_id, worker=worker, lease=lease)
    if job is not None:
        run = {"job_id": job.id, "fence": job.fence, "attempt": job.attempt}
        values = {**run, "owner_id": job.owner_id, "worker": worker}
        connection.execute(_BEGINNING, values)
    return job


def ring_for_the_next(connection: Connection, run: Job) -> None:
    """Order one ring more where the queue of a job just claimed has another that is due.

    In the transaction of a claim by which a worker turns from idle to busy: so each that wakes
    wakes the next, as long as there is work, and no burst is too large for the rings of its
    submission.
    """
    owner_id = connection.execute(_ANOTHER, {"of": run.queue}).scalar_one_or_none()
    if owner_id is not None:
        order_ring(connection, owner_id, run.queue)


def beat(
    connection: Connection,
    run: Job,
    *,
    lease_seconds: float,
    progress: Mapping[str, Any] | None = None,
    is_event: bool = False,
) -> str | None:
    """Prolong a run's lease, optionally with where it is; tells why it should stop, if it should.

    Raises:
        FencedOutError: the run has lost its job.
    """
    values: dict[str, Any] = {"lease_until_at": lease_now(lease_seconds)}
    # A beat alone raises no version: nothing that users see has changed, and no ETag either.
    if progress is not None:
        values |= {"progress": dict(progress), "version": jobs.c.version + 1}
    if is_event:
        values |= {"n_events": jobs.c.n_events + 1}
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == run.id, *_holds(run))
        .values(**values)
        .returning(jobs.c.stop_requested, jobs.c.n_events)
    ).one_or_none()
    if row is None:
        raise _fenced_out(run)
    if is_event:
        events.record_event(
            connection,
            owner_id=run.owner_id,
            job_id=run.id,
            seq=row.n_events,
            event_type=events.PROGRESS,
            data=progress or {},
        )
    stop: str | None = row.stop_requested
    return stop


def note(connection: Connection, run: Job, told: Mapping[str, Any]) -> None:
    """Write down what users should know of a run: a code, a message, what else belongs to it.

    A note with a `resumed_from_step` is written into the attempt as well.

    Raises:
        FencedOutError: the run has lost its job.
    """
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == run.id, *_holds(run))
        .values(n_events=jobs.c.n_events + 1)
        .returning(jobs.c.n_events)
    ).one_or_none()
    if row is None:
        raise _fenced_out(run)
    events.record_event(
        connection,
        owner_id=run.owner_id,
        job_id=run.id,
        seq=row.n_events,
        event_type=events.NOTE,
        data=told,
    )
    if RESUMED_FROM_STEP in told:
        step = {RESUMED_FROM_STEP: told[RESUMED_FROM_STEP]}
        connection.execute(update(attempts).where(*_attempt_of(run)).values(step))


def note_recipe(connection: Connection, run: Job, digest: str, ids: Sequence[str]) -> None:
    """Write down the recipe of a run's results; see app.shared.engine.recipes.

    Raises:
        FencedOutError: the run has lost its job.
    """
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == run.id, *_holds(run))
        .values(recipe=digest, recipe_ids=list(ids))
        .returning(jobs.c.id)
    ).one_or_none()
    if row is None:
        raise _fenced_out(run)


def succeed(
    connection: Connection, run: Job, ending: Ending, *, reused_from: str | None = None
) -> Job:
    """Edge f. The caller has written the results in this same transaction.

    Args:
        connection: a write transaction.
        run: of whose trainer they are, if of any.
        ending: how it ended.
        reused_from: the job whose results they are copies of.

    Raises:
        FencedOutError: the run has lost its job, or a cancel came first: roll back.
    """
    lock_family(connection, run.id)
    whose = {"error": None, "reused_from": reused_from}
    return _held(run, _end_run(connection, run, "succeeded", "succeeded", ending, **whose))


def fail(
    connection: Connection,
    run: Job,
    error: Mapping[str, Any],
    ending: Ending,
    *,
    retry_seconds: float | None = None,
) -> Job:
    """Edge g, or h where `retry_seconds` is given and attempts are left; k under a cancel.

    Raises:
        FencedOutError: the run has lost its job.
    """
    lock_family(connection, run.id)
    if _is_cancelling(connection, run):
        return end_cancelled(connection, run, ending)
    if retry_seconds is None or run.attempt >= run.max_attempts:
        ended = _end_run(connection, run, "failed", "failed", ending, error=dict(error))
    else:
        wait = _wait(run, retry_seconds)
        ended = _end_run(connection, run, "queued", "failed", ending, error=dict(error), **wait)
    return _held(run, ended)


def release(connection: Connection, run: Job, ending: Ending) -> Job:
    """Edge h for a worker that is going down: back to the queue, the attempt not counted.

    Raises:
        FencedOutError: the run has lost its job.
    """
    lock_family(connection, run.id)
    if _is_cancelling(connection, run):
        return end_cancelled(connection, run, ending)
    why = {"type": "drained", "message": "its worker went down; the attempt is not counted"}
    not_counted = {"attempt": jobs.c.attempt - 1, "error": why, **_at_once()}
    released = _held(run, _end_run(connection, run, "queued", "released", ending, **not_counted))
    order_ring(connection, run.owner_id, run.queue)
    return released


def wait_for_another(connection: Connection, run: Job, other_id: str) -> Job | None:
    """Edge o: leave the job to whoever computes the same, until that job has ended.

    The attempt is not counted. However the other ends, this job then goes on: it takes its results
    over, or computes them.

    Args:
        connection: a write transaction that holds the recipe, see `recipes.hold`.
        run: that has not begun to compute.
        other_id: a job of the same recipe.

    Returns:
        None where the other is not running any more or just being changed, and where this job has
        been cancelled.

    Raises:
        FencedOutError: the run has lost its job.
    """
    lock_family(connection, run.id)
    if _is_cancelling(connection, run):
        return None
    # Its end waits for this lock and then sees who waits. Never waited for: whoever ends it may
    # be waiting for the family above.
    still = select(jobs.c.id).where(jobs.c.id == other_id, jobs.c.state == "running")
    still = still.with_for_update(read=True, skip_locked=True)
    if connection.execute(still).one_or_none() is None:
        return None
    known = (job_deps.c.job_id == run.id, job_deps.c.needs_job_id == other_id)
    if connection.execute(select(job_deps.c.job_id).where(*known)).one_or_none() is None:
        values = {"owner_id": run.owner_id, "job_id": run.id, "needs_job_id": other_id}
        connection.execute(insert(job_deps).values(**values, is_soft=True))
    reason = f"it waits for {other_id}, which computes the same"
    why = {"type": "computed_elsewhere", "message": reason}
    not_counted = {"attempt": jobs.c.attempt - 1, "error": why, "queued_at": None}
    ending = Ending(reason=reason)
    return _held(run, _end_run(connection, run, "blocked", "released", ending, **not_counted))


def end_cancelled(connection: Connection, run: Job, ending: Ending) -> Job:
    """Edge k: the supervisor has stopped the run.

    Raises:
        FencedOutError: the run has lost its job, or nobody has cancelled it.
    """
    lock_family(connection, run.id)
    return _held(run, _end_run(connection, run, "cancelled", "cancelled", ending))


def lost_jobs(connection: Connection, *, limit: int = 20) -> list[str]:
    """Ids of running jobs whose lease, or whose time to stop, has passed."""
    lost = select(jobs.c.id).where(jobs.c.state.in_(ACTIVE_STATES), _is_lost())
    lost = lost.where(jobs.c.kind.not_in(COMPOSITE_KINDS)).limit(limit)
    return list(connection.execute(lost).scalars())


def end_leases(connection: Connection) -> int:
    """End the lease of every run; tells how many.

    For a start at which no worker can be left: the reconciler then recovers them at once.
    """
    leased = jobs.c.lease_until_at.is_not(None)
    return connection.execute(update(jobs).where(leased).values(lease_until_at=_LONG_AGO)).rowcount


def recover_lost(connection: Connection, job_id: str) -> Job | None:
    """Edges h, g and k for a run whose lease, or whose time to stop, has passed.

    The next attempt may begin at once: the lease was pause enough.

    Never waits: what another transaction holds, or is not lost any more, is left with None.
    """
    if not lock_family(connection, job_id, skip_locked=True):
        return None
    row = connection.execute(
        select(*JOB_COLUMNS)
        .where(jobs.c.id == job_id, jobs.c.state.in_(ACTIVE_STATES), _is_lost())
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    run, ending = job_of(row), Ending(reason="the worker was not heard of within its lease")
    if run.state == "cancelling":
        return _end_run(connection, run, "cancelled", "lost", ending)
    if run.attempt < run.max_attempts:
        order_ring(connection, run.owner_id, run.queue)
        why = {"type": "worker_lost", "message": ending.reason}
        return _end_run(connection, run, "queued", "lost", ending, error=why, **_at_once())
    message = f"the worker was lost in attempt {run.attempt} of {run.max_attempts}"
    error = {"type": "attempts_exhausted", "message": message}
    return _end_run(connection, run, "failed", "lost", ending, error=error)


def _end_run(
    connection: Connection,
    run: Job,
    target: JobState,
    outcome: str,
    ending: Ending,
    **values: object,
) -> Job | None:
    """Leave running (or, to end cancelled, cancelling) if the run still holds its job."""
    source: JobState = "cancelling" if target == "cancelled" else "running"
    # Without a lease the run is over: tell_start and _is_lost go by it.
    leave = {"lease_owner": None, "lease_until_at": None, **values}
    moved = move(connection, run.id, (source,), target, *_holds(run), **leave)
    if moved is not None:
        connection.execute(
            update(attempts)
            .where(*_attempt_of(run))
            .values(
                ended_at=db_now(),
                outcome=outcome,
                exit_reason=ending.reason,
                peak_memory_bytes=ending.peak_memory_bytes,
                cpu_seconds=ending.cpu_seconds,
            )
        )
    return moved


def _is_cancelling(connection: Connection, run: Job) -> bool:
    # Locked, so that no cancel comes between this look and the move that follows.
    state = select(jobs.c.state).where(jobs.c.id == run.id).with_for_update()
    return connection.execute(state).scalar_one_or_none() == "cancelling"


def _is_lost() -> ColumnElement[bool]:
    return or_(has_passed(jobs.c.lease_until_at), has_passed(jobs.c.stop_deadline_at))


def _holds(run: Job) -> tuple[ColumnElement[bool], ...]:
    return (jobs.c.fence == run.fence, jobs.c.state.in_(ACTIVE_STATES))


def _attempt_of(run: Job) -> tuple[ColumnElement[bool], ...]:
    return (attempts.c.job_id == run.id, attempts.c.fence == run.fence)


def _at_once() -> dict[str, Any]:
    return {"queued_at": db_now(), "rung_at": db_now()}


def _wait(run: Job, retry_seconds: float) -> dict[str, Any]:
    # Not rung for now: the reconciler rings once not_before_at has come, see ring_again.
    pause = min(retry_seconds * 2 ** (run.attempt - 1), MAX_RETRY_SECONDS)
    return {"not_before_at": db_now(pause), "queued_at": db_now()}


def _held(run: Job, ended: Job | None) -> Job:
    if ended is None:
        raise _fenced_out(run)
    return ended


def _fenced_out(run: Job) -> FencedOutError:
    return FencedOutError("fenced_out", f"run {run.fence} no longer holds job {run.id}")
