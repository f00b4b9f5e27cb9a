"""How long a pipeline will take yet: by how long jobs like those that are left have taken."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import Connection, select

from app.shared.store.database import clock
from app.shared.store.job_queries import children_by_parent
from app.shared.store.job_records import Job
from app.shared.store.kinds import is_composite
from app.shared.store.tables import jobs

N_FORMER = 20
"""Former pipelines on the same data set that are looked through for one like it."""


def seconds_left(connection: Connection, pipeline: Job, children: Sequence[Job]) -> float | None:
    """An estimate for all that is left of a pipeline, its jobs run one after the other.

    A job takes as long as the same one of the last pipeline that asked for the same (but for the
    seed), else as its siblings of the same kind have taken, by their median. What was taken over
    from another job tells nothing. Waiting behind others' jobs is not in it.

    Returns:
        Seconds; None for what is no pipeline at work, and while a job has no like.
    """
    left = [child for child in children if not child.is_terminal]
    if not is_composite(pipeline.kind) or pipeline.is_terminal or not left:
        return None
    siblings = [(one.kind, _seconds_taken(one)) for one in children]
    former, now = _former_seconds(connection, pipeline), clock(connection)
    total = 0.0
    for child in left:
        alike = [taken for kind, taken in siblings if kind == child.kind and taken is not None]
        whole = former.get(child.role or "", median(alike) if alike else None)
        remaining = _remaining(child, whole, now)
        if remaining is None:
            return None
        total += remaining
    return round(total, 1)


def _remaining(child: Job, whole: float | None, now: datetime) -> float | None:
    """What is left of one job: at least what it says of its present phase itself."""
    if whole is None:
        return None
    if child.state not in ("running", "cancelling") or child.started_at is None:
        return whole
    said = (child.progress or {}).get("eta_seconds") or 0.0
    elapsed = (now - child.started_at).total_seconds()
    return float(max(whole - elapsed, said, 0.0))


def _former_seconds(connection: Connection, pipeline: Job) -> dict[str, float]:
    """Role -> seconds, of the newest pipeline that asked for the same and computed it itself."""
    statement = (
        select(jobs.c.id, jobs.c.params)
        .where(
            jobs.c.owner_id == pipeline.owner_id,
            jobs.c.dataset == pipeline.dataset,
            jobs.c.kind == pipeline.kind,
            jobs.c.state == "succeeded",
            jobs.c.id < pipeline.id,
        )
        .order_by(jobs.c.id.desc())
        .limit(N_FORMER)
    )
    asked = _but_for_the_seed(pipeline.params)
    rows = connection.execute(statement).all()
    alike = [row.id for row in rows if _but_for_the_seed(row.params) == asked]
    found: dict[str, float] = {}
    for family in (
        children_by_parent(connection, pipeline.owner_id, alike).values() if alike else ()
    ):
        for child in family:
            taken = _seconds_taken(child)
            if taken is not None and child.role is not None:
                found.setdefault(child.role, taken)
    return found


def _seconds_taken(job: Job) -> float | None:
    if job.state != "succeeded" or job.reused_from or not (job.started_at and job.ended_at):
        return None
    return (job.ended_at - job.started_at).total_seconds()


def _but_for_the_seed(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != "seed"}
