"""Composite jobs (pipelines, studies): which have ended, how, what they hear of their children.

Nothing here moves a job; `jobs.settle_pipeline` does, by the outcome found here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from app.shared.engine.events import CHILD, record_event, record_events
from app.shared.store.database import db_now
from app.shared.store.job_records import Job
from app.shared.store.job_states import JOB_STATES, TERMINAL_STATES, JobState
from app.shared.store.kinds import COMPOSITE_KINDS, KINDS
from app.shared.store.tables import jobs

Child = Row[Any, Any, Any, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a pipeline ends.

    Attributes:
        state: that it ends in.
        sources: states that it may be in before.
        values: of its columns besides.
    """

    state: JobState
    sources: tuple[JobState, ...] = ("blocked", "cancelling")
    values: Mapping[str, Any] = field(default_factory=dict)


def unsettled_pipelines(connection: Connection, *, limit: int = 20) -> list[str]:
    """Ids of pipelines all of whose children have ended; none, unless a settling was missed."""
    child = jobs.alias("child")
    unended = select(child.c.id).where(
        child.c.parent_id == jobs.c.id, child.c.state.not_in(TERMINAL_STATES)
    )
    statement = select(jobs.c.id).where(
        jobs.c.kind.in_(COMPOSITE_KINDS), jobs.c.state.not_in(TERMINAL_STATES), ~unended.exists()
    )
    return list(connection.execute(statement.limit(limit)).scalars())


def outcome_of(connection: Connection, pipeline_id: str) -> Outcome | None:
    """What a composite job's children, once all have ended, make of it; None before.

    Failed if one failed, else expired if one has, else cancelled if one was, else succeeded. A kind
    that may end partial does so where its last child, which gathers what the others have made, has
    succeeded though others have not.
    """
    if _has_unended(connection, pipeline_id):
        return None
    children = connection.execute(
        select(jobs.c.id, jobs.c.role, jobs.c.state, jobs.c.error)
        .where(jobs.c.parent_id == pipeline_id)
        .order_by(jobs.c.id)
    ).all()
    states = {child.state for child in children}
    if states == {"succeeded"}:
        return Outcome(state="succeeded", sources=("blocked",))
    kind = connection.execute(select(jobs.c.kind).where(jobs.c.id == pipeline_id)).scalar_one()
    if KINDS[kind].may_end_partial and children[-1].state == "succeeded":
        return Outcome(
            state="partial", sources=("blocked",), values={"error": _what_is_missing(children)}
        )
    if "failed" not in states:
        return Outcome(state="expired" if "expired" in states else "cancelled")
    cause = _cause(children)
    return Outcome(
        state="failed", values={"error": {**(cause.error or {}), "message": _told_of(cause)}}
    )


def _has_unended(connection: Connection, pipeline_id: str) -> bool:
    # By the states themselves, each a stretch of the index: of thousands of children none is read.
    unended = [state for state in JOB_STATES if state not in TERMINAL_STATES]
    statement = select(jobs.c.id).where(jobs.c.parent_id == pipeline_id, jobs.c.state.in_(unended))
    return connection.execute(statement.limit(1)).one_or_none() is not None


def _cause(children: Sequence[Child]) -> Child:
    """Of children of whom some failed, the first that did by itself, not for want of another."""
    failed = [child for child in children if child.state == "failed"]
    return min(failed, key=lambda child: (child.error or {}).get("type") == "dependency_failed")


def _told_of(child: Child) -> str:
    return f"{child.role} ({child.id}) {child.state}: {(child.error or {}).get('message', '')}"


def _what_is_missing(children: Sequence[Child]) -> dict[str, str]:
    lost = [child for child in children if child.state != "succeeded"]
    n_lost = f"{len(lost)} of {len(children)} jobs came to nothing"
    first = _cause(children) if any(child.state == "failed" for child in children) else lost[0]
    return {"type": "jobs_lost", "message": f"{n_lost}; first {_told_of(first)}"}


def tell_pipeline(connection: Connection, job: Job, data: Mapping[str, Any]) -> None:
    """Write down for the pipeline above a job what has become of the job.

    Args:
        connection: a write transaction that holds the pipeline's lock, see locks.
        job: one of its children.
        data: of the child's own event; the first "running" begins the pipeline too.
    """
    # The first child that runs begins the pipeline; a later attempt does not begin it anew.
    began = {"started_at": func.coalesce(jobs.c.started_at, db_now())}
    above = connection.execute(
        update(jobs)
        .where(jobs.c.id == job.parent_id)
        .values(
            version=jobs.c.version + 1,
            n_events=jobs.c.n_events + 1,
            **(began if data["state"] == "running" else {}),
        )
        .returning(jobs.c.id, jobs.c.owner_id, jobs.c.n_events)
    ).one()
    child = {**data, "role": job.role, "job_id": job.id}
    record_event(
        connection,
        owner_id=above.owner_id,
        job_id=above.id,
        seq=above.n_events,
        event_type=CHILD,
        data=child,
    )


def tell_of_children(
    connection: Connection, parent_id: str, told: Sequence[Mapping[str, Any]]
) -> None:
    """Write down for a composite job, in one go, what has become of many of its children.

    Args:
        connection: a write transaction that holds its lock, or has just written its row.
        parent_id: of it.
        told: of each its state, role and job_id.
    """
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == parent_id)
        .values(version=jobs.c.version + len(told), n_events=jobs.c.n_events + len(told))
        .returning(jobs.c.owner_id, jobs.c.n_events)
    ).one()
    first = row.n_events - len(told) + 1
    numbered = [(parent_id, first + k, data) for k, data in enumerate(told)]
    record_events(connection, owner_id=row.owner_id, event_type=CHILD, told=numbered)
