"""Composite jobs (pipelines): which have ended, how, and what they hear of their children.

Nothing here moves a job; `jobs.settle_pipeline` does, by the outcome found here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select, update

from app.shared.engine.events import CHILD, record_event
from app.shared.store.database import db_now
from app.shared.store.job_records import Job
from app.shared.store.job_states import TERMINAL_STATES, JobState
from app.shared.store.kinds import COMPOSITE_KINDS
from app.shared.store.tables import jobs


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
    """What a pipeline's children, once all have ended, make of it; None before.

    Failed if one failed, else expired if one has, else cancelled if one was, else succeeded.
    """
    children = connection.execute(
        select(jobs.c.id, jobs.c.role, jobs.c.state, jobs.c.error)
        .where(jobs.c.parent_id == pipeline_id)
        .order_by(jobs.c.id)
    ).all()
    if any(child.state not in TERMINAL_STATES for child in children):
        return None
    states = {child.state for child in children}
    if states == {"succeeded"}:
        return Outcome(state="succeeded", sources=("blocked",))
    if "failed" not in states:
        return Outcome(state="expired" if "expired" in states else "cancelled")
    failed = [child for child in children if child.state == "failed"]
    # The cause is the child that failed by itself, not those that failed because they needed it.
    cause = min(failed, key=lambda child: (child.error or {}).get("type") == "dependency_failed")
    message = f"{cause.role} ({cause.id}) failed: {(cause.error or {}).get('message', '')}"
    return Outcome(state="failed", values={"error": {**(cause.error or {}), "message": message}})


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
