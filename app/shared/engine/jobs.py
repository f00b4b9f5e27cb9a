"""The life of a job: `move` here is the only writer of jobs.state.

       ┌────── l ──────┐
    ∅ ─┼─ b ─▶ blocked ┼─ l ─▶ scheduled ─ n ─▶ expired
       │         │ d   │           │ m            ▲
       │         ▼     c           ▼              │ n
       │      failed   └───────▶ queued ──────────┘
       └────────── a ──────────▶  │  ▲ └─ e ─▶ running ─ f ─▶ succeeded
                                  │  │         │ │ │ └─ g ─▶ failed
                                  │  └─── h ───┘ │ │
                                  j              │ i
                                  ▼              ▼
                              cancelled ◀─ k ─ cancelling

    a  submitted, nothing to wait for: insert_job
    b  submitted, waits for other jobs: insert_job, insert_composite
    c  the last job it waited for has succeeded, or just ended where that is enough: _settle
    d  a job it waited for has failed or expired (dependency_failed, dependency_expired): _settle
    e  claimed by a worker, fence + 1, attempt + 1: runs.claim_next
    f  ended with results, its own or taken over from a finished job of the same recipe, unless a
       cancel came first: runs.succeed
    g  ended with a final error: runs.fail; lost once too often: runs.recover_lost
    h  another attempt: runs.fail with retry, runs.release (not counted), runs.recover_lost
    i  a cancel of a running job: request_cancel
    j  a cancel of a waiting job, blocked and scheduled ones too: request_cancel; a job it waited
       for has been cancelled (dependency_cancelled): _settle
    k  stopped by its supervisor: runs.end_cancelled; or lost while stopping: runs.recover_lost
    l  has nothing to wait for but its start_at: insert_job, _settle
    m  its start_at has come: deadlines.start
    n  had not started when its expires_at came, blocked ones too: deadlines.expire
    o  running ─▶ blocked: another job of the same recipe is being run, whose results it waits for:
       runs.wait_for_another

A pipeline goes blocked ─▶ (cancelling ─▶) succeeded | failed | cancelled, by settle_pipeline
alone, or expires as a whole before any of its jobs has started; a study may end partial, too. A
job that ended badly is never opened again: a retry is a new job. Nothing leaves a terminal state.
Each move is one UPDATE guarded by the states it may leave and, from running on, by the fence of the
run; the trigger jobs_state makes the database itself refuse any other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, insert, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from app.shared.engine.composites import outcome_of, tell_of_children, tell_pipeline
from app.shared.engine.events import STATE, record_event, record_events
from app.shared.engine.locks import has_unfinished, lock_family, locked_job, unfinished
from app.shared.engine.queue import order_ring
from app.shared.errors import ConflictError
from app.shared.store.database import db_now
from app.shared.store.descriptions import description_of, index_description
from app.shared.store.job_records import JOB_COLUMNS, Job, NewJob, job_of
from app.shared.store.job_states import TERMINAL_STATES, WAITING_STATES, JobState
from app.shared.store.kinds import INTAKE, is_composite
from app.shared.store.lease_clock import lease_now
from app.shared.store.tables import datasets, job_deps, jobs

waiter = jobs.alias("waiter")
_ASKED: Mapping[str, Any] = {"stop_requested": "cancel", "error": None}
# Built once: building a statement costs more time than the database takes for it.
_CHILD_WRITING = insert(jobs).values(n_events=1, created_at=db_now())
_CHILD_WRITING_QUEUED = _CHILD_WRITING.values(queued_at=db_now())
_WRITING = _CHILD_WRITING.returning(*JOB_COLUMNS)
_WRITING_QUEUED = _CHILD_WRITING_QUEUED.returning(*JOB_COLUMNS)


def insert_job(
    connection: Connection, owner_id: str, new: NewJob, *, parent_id: str | None = None
) -> Job:
    """Edges a and b: write a job, its first event and, when it can start, its ring.

    Raises:
        ConflictError: a job it waits for has ended without success.
    """
    # A pipeline has nothing to run: it is blocked until all its children have ended.
    is_blocked = bool(unfinished(connection, new.needs)) or is_composite(new.kind)
    state = _first_state(new, is_blocked=is_blocked)
    values = {"owner_id": owner_id, "state": state, "parent_id": parent_id, **new.columns()}
    writing = _WRITING_QUEUED if state == "queued" else _WRITING
    job = job_of(connection.execute(writing, values).one())
    # Those that have ended stand here too: their results must stay until this job has read them.
    for needed in dict.fromkeys(new.needs):
        connection.execute(
            insert(job_deps).values(owner_id=owner_id, job_id=job.id, needs_job_id=needed)
        )
    index_description(connection, owner_id, job.id, job.id, description_of(job))
    _record(connection, job, 1)
    if job.state == "queued":
        order_ring(connection, owner_id, job.queue)
    return job


def insert_composite(
    connection: Connection, owner_id: str, composite: NewJob, children: Sequence[NewJob]
) -> Job:
    """Edges a and b for a pipeline or study: its row, then those of all its children at once.

    Raises:
        ConflictError: a job that one of them needs has ended without success.
    """
    job = insert_job(connection, owner_id, composite)
    own = {child.id for child in children}
    others = {needed for child in children for needed in child.needs} - own
    open_ones = own.union(unfinished(connection, sorted(others)))
    begun = [
        (child, _first_state(child, is_blocked=bool(child.waits_for or open_ones & {*child.needs})))
        for child in children
    ]
    _write_children(connection, owner_id, job.id, begun)
    told = [{"state": state, "role": new.role, "job_id": new.id} for new, state in begun]
    tell_of_children(connection, job.id, told)
    return job


def _first_state(new: NewJob, *, is_blocked: bool) -> JobState:
    if is_blocked:
        return "blocked"
    return "queued" if new.start_at is None else "scheduled"


def _write_children(
    connection: Connection,
    owner_id: str,
    parent_id: str,
    children: Sequence[tuple[NewJob, JobState]],
) -> None:
    """Rows, dependencies, terms and first events of many jobs, and one ring a queue."""
    queues = dict.fromkeys(new.queue for new, state in children if state == "queued")
    for writing, is_queued in ((_CHILD_WRITING, False), (_CHILD_WRITING_QUEUED, True)):
        rows = [
            {"owner_id": owner_id, "state": state, "parent_id": parent_id, **new.columns()}
            for new, state in children
            if (state == "queued") == is_queued
        ]
        if rows:
            connection.execute(writing, rows)
    deps = [
        {"owner_id": owner_id, "job_id": new.id, "needs_job_id": needed, "is_soft": is_soft}
        for new, _ in children
        for is_soft, needs in ((False, new.needs), (True, new.waits_for))
        for needed in dict.fromkeys(needs)
    ]
    if deps:
        connection.execute(insert(job_deps), deps)
    for new, _ in children:
        index_description(connection, owner_id, new.id, new.id, description_of(new))
    first = [(new.id, 1, {"state": state}) for new, state in children]
    record_events(connection, owner_id=owner_id, event_type=STATE, told=first)
    # Whoever claims one of many wakes the next, see runs.ring_for_the_next.
    for queue in queues:
        order_ring(connection, owner_id, queue)


def request_cancel(
    connection: Connection, owner_id: str, job_id: str, *, grace_seconds: float
) -> Job:
    """Edges i and j; on a job already cancelled or cancelling nothing changes.

    Args:
        connection: a write transaction.
        owner_id: whose job it has to be.
        job_id: the job; of a pipeline all children are cancelled.
        grace_seconds: time after which the reconciler stops waiting for the supervisor.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has succeeded, failed or expired.
    """
    lock_family(connection, job_id)
    job = locked_job(connection, owner_id, job_id)
    if job.state in ("cancelling", "cancelled"):
        return job
    if job.is_terminal:
        raise ConflictError(
            "job_not_cancellable", f"job {job_id} has already ended: it is {job.state}"
        )
    _cancel(connection, job, grace_seconds)
    return locked_job(connection, owner_id, job_id)


def is_due() -> ColumnElement[bool]:
    """May a job start now, by the database's clock?"""
    return or_(jobs.c.not_before_at.is_(None), jobs.c.not_before_at <= db_now())


def enter_queue(connection: Connection, job_id: str, sources: Sequence[JobState]) -> Job | None:
    """Edges c, l and m: queued and rung for, or scheduled where it is too early."""
    # The ring is ordered in this same transaction; the reconciler counts its pauses from it.
    rung = {"queued_at": db_now(), "rung_at": db_now()}
    job = move(connection, job_id, sources, "queued", is_due(), **rung)
    if job is None:
        return move(connection, job_id, ("blocked",), "scheduled")
    order_ring(connection, job.owner_id, job.queue)
    return job


def _settle(connection: Connection, ended: Job) -> None:
    """Edges c and d for the jobs that waited on one that has just ended; then its pipeline."""
    _let_waiting_go_on(connection, jobs.c.id == ended.id)
    if ended.kind == INTAKE and ended.state != "succeeded":
        _reject_unchecked(connection, ended)
    if ended.parent_id is not None:
        settle_pipeline(connection, ended.parent_id)


def _let_waiting_go_on(connection: Connection, which_ended: ColumnElement[bool]) -> None:
    """Edges c and d for the jobs, of no family just cancelled whole, that waited on some."""
    needed = select(jobs.c.id).where(which_ended).scalar_subquery()
    waits = and_(job_deps.c.needs_job_id.in_(needed), waiter.c.state == "blocked")
    # The pipelines above them before these themselves, see locks. A job waits for older ones
    # alone, and its pipeline came with it: nobody waits in a circle.
    above = select(waiter.c.parent_id).join(job_deps, job_deps.c.job_id == waiter.c.id).where(waits)
    locking = select(jobs.c.id).where(jobs.c.id.in_(above)).order_by(jobs.c.id)
    connection.execute(locking.with_for_update())
    waiting = (
        select(waiter.c.id, job_deps.c.needs_job_id, job_deps.c.is_soft)
        .join(job_deps, job_deps.c.job_id == waiter.c.id)
        .where(waits)
        .order_by(waiter.c.id)
        # Whoever locks several jobs does it in the order of their ids, see locks.
        .with_for_update(of=waiter)
    )
    for row in connection.execute(waiting).all():
        ended = job_of(
            connection.execute(select(*JOB_COLUMNS).where(jobs.c.id == row.needs_job_id)).one()
        )
        if ended.state != "succeeded" and not row.is_soft:
            _give_up(connection, row.id, ended)
        elif not has_unfinished(connection, row.id):
            enter_queue(connection, row.id, ("blocked",))


def _reject_unchecked(connection: Connection, intake: Job) -> None:
    """An upload whose check has ended without a verdict is not left `checking` for ever."""
    detail = (intake.error or {}).get("message", f"its check was {intake.state}")
    connection.execute(
        update(datasets)
        .where(datasets.c.job_id == intake.id, datasets.c.state == "checking")
        .values(state="rejected", problem={"code": "check_failed", "detail": detail})
    )


def settle_pipeline(connection: Connection, pipeline_id: str) -> Job | None:
    """End a pipeline whose children have all ended, as `outcome_of` says; None where one has not.

    Args:
        connection: a write transaction that holds the pipeline's lock, see locks.
        pipeline_id: the pipeline.
    """
    outcome = outcome_of(connection, pipeline_id)
    if outcome is None:
        return None
    return move(connection, pipeline_id, outcome.sources, outcome.state, **outcome.values)


def _give_up(connection: Connection, job_id: str, needed: Job) -> None:
    """End a job that waited for one that did not succeed: cancelled with it, or failed."""
    is_failed = needed.state != "cancelled"
    error = {
        "type": f"dependency_{needed.state}",
        "message": f"it needs {needed.role or needed.kind} {needed.id}, which is {needed.state}",
    }
    move(connection, job_id, ("blocked",), "failed" if is_failed else "cancelled", error=error)


def _cancel(connection: Connection, job: Job, grace_seconds: float) -> None:
    if is_composite(job.kind):
        _cancel_composite(connection, job, grace_seconds)
        return
    moved = move(connection, job.id, WAITING_STATES, "cancelled", **_ASKED)
    # A running job is only asked: its supervisor learns of it at the next beat.
    if moved is None:
        deadline = {**_ASKED, "stop_deadline_at": lease_now(grace_seconds)}
        move(connection, job.id, ("running",), "cancelling", **deadline)


def _cancel_composite(connection: Connection, job: Job, grace_seconds: float) -> None:
    """Cancel a pipeline or study with its children; those that wait, maybe thousands, at once."""
    move(connection, job.id, ("blocked",), "cancelling", **_ASKED)
    own = jobs.c.parent_id == job.id
    is_waiting = and_(own, jobs.c.state.in_(WAITING_STATES))
    in_order = select(jobs.c.id).where(is_waiting).order_by(jobs.c.id).with_for_update()
    waiting = connection.execute(in_order).scalars().all()
    cancelling = (
        update(jobs)
        .where(is_waiting)
        .values(**_state_values("cancelled"), **_ASKED)
        .returning(jobs.c.id, jobs.c.role, jobs.c.n_events)
    )
    told = {"state": "cancelled"}
    rows = sorted(connection.execute(cancelling).all(), key=lambda row: str(row.id))
    first = [(row.id, row.n_events, told) for row in rows]
    record_events(connection, owner_id=job.owner_id, event_type=STATE, told=first)
    of_children = [{**told, "role": row.role, "job_id": row.id} for row in rows]
    tell_of_children(connection, job.id, of_children)
    if waiting:
        _let_waiting_go_on(connection, and_(own, jobs.c.state == "cancelled"))
    running = select(*JOB_COLUMNS).where(own, jobs.c.state == "running").order_by(jobs.c.id)
    for row in connection.execute(running).all():
        _cancel(connection, job_of(row), grace_seconds)
    settle_pipeline(connection, job.id)


def move(
    connection: Connection,
    job_id: str,
    sources: Sequence[JobState],
    target: JobState,
    *guards: ColumnElement[bool],
    **values: object,
) -> Job | None:
    """The one guarded UPDATE of a state; None when the job was in none of the sources."""
    return make_move(connection, moving(sources, target, *guards, **values), job_id)


def moving(
    sources: Sequence[JobState], target: JobState, *guards: ColumnElement[bool], **values: object
) -> ReturningUpdate[Any]:
    """The statement of a move, for `make_move`."""
    return (
        update(jobs)
        .where(jobs.c.id == bindparam("moved"), jobs.c.state.in_(sources), *guards)
        .values(**_state_values(target), **values)
        .returning(*JOB_COLUMNS, jobs.c.n_events)
    )


def _state_values(target: JobState) -> dict[str, Any]:
    return {
        "state": target,
        "version": jobs.c.version + 1,
        "n_events": jobs.c.n_events + 1,
        "ended_at": db_now() if target in TERMINAL_STATES else None,
    }


def make_move(
    connection: Connection, statement: ReturningUpdate[Any], job_id: str, **parameters: object
) -> Job | None:
    """Carry out a statement of `moving`, with all that follows from a job's new state."""
    row = connection.execute(statement, {"moved": job_id, **parameters}).one_or_none()
    if row is None:
        return None
    job = job_of(row)
    # The event's number comes from the same UPDATE: no two moves get the same, none is skipped.
    _record(connection, job, row.n_events)
    if job.is_terminal:
        _settle(connection, job)
    return job


def _record(connection: Connection, job: Job, seq: int) -> None:
    """Write the event of a change of state, and tell the pipeline above, if any.

    A claim tells nobody: it holds the job's lock but not the family's.
    """
    data: dict[str, Any] = {"state": job.state}
    if job.attempt:
        data["attempt"] = job.attempt
    if job.error is not None and job.state != "succeeded":
        data["error"] = job.error
    record_event(
        connection, owner_id=job.owner_id, job_id=job.id, seq=seq, event_type=STATE, data=data
    )
    if job.parent_id is not None and job.state != "running":
        tell_pipeline(connection, job, data)


def tell_start(connection: Connection, run: Job) -> None:
    """Tell the pipeline above a run that it has begun; in a transaction after the claim's own.

    A run that has lost its job meanwhile tells nothing: the pipeline may have ended.
    """
    if run.parent_id is None or not lock_family(connection, run.id):
        return
    still = (jobs.c.fence == run.fence, jobs.c.lease_until_at.is_not(None))
    holds = select(jobs.c.id).where(jobs.c.id == run.id, *still)
    if connection.execute(holds).one_or_none() is not None:
        tell_pipeline(connection, run, {"state": "running", "attempt": run.attempt})
