"""How long a pipeline or study will take yet: by how long jobs like those left have taken."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import Connection, func, select

from app.shared.store.database import clock
from app.shared.store.job_queries import Family, children_by_parent
from app.shared.store.job_records import JOB_COLUMNS, Job, job_of
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.kinds import COMPARE, KINDS, is_composite
from app.shared.store.tables import jobs

N_FORMER = 20
"""Former pipelines on the same data set that are looked through for one like it."""


def seconds_left(connection: Connection, composite: Job, family: Family) -> float | None:
    """Seconds until a pipeline or study has ended, its jobs run as now; None while unknown."""
    if not is_composite(composite.kind) or composite.is_terminal:
        return None
    if KINDS[composite.kind].shows_all_jobs:
        return _seconds_of_pipeline(connection, composite, family.shown)
    return _seconds_of_study(connection, composite)


def _seconds_of_study(connection: Connection, study: Job) -> float | None:
    """By the median of each kind among its last jobs; as many at a time as run now."""
    own = jobs.c.parent_id == study.id
    left = select(jobs.c.kind, jobs.c.state, func.count().label("n")).where(
        own, jobs.c.state.not_in(TERMINAL_STATES)
    )
    counted = connection.execute(left.group_by(jobs.c.kind, jobs.c.state)).all()
    n_running = max(1, sum(row.n for row in counted if row.state == "running"))
    total: float = 0.0
    for row in counted:
        ended = select(*JOB_COLUMNS).where(
            own,
            jobs.c.kind == row.kind,
            jobs.c.state == "succeeded",
            jobs.c.reused_from.is_(None),
        )
        last = connection.execute(ended.order_by(jobs.c.id.desc()).limit(N_FORMER)).all()
        taken = [seconds for one in last if (seconds := _seconds_taken(job_of(one))) is not None]
        if not taken and row.kind != COMPARE:
            return None
        total += int(row.n) * (median(taken) if taken else 0.0)
    return round(float(total / n_running), 1)


def _seconds_of_pipeline(
    connection: Connection, pipeline: Job, children: Sequence[Job]
) -> float | None:
    """An estimate for all that is left of a pipeline, its jobs run one after the other.

    A job takes as long as the same one of the last pipeline that asked for the same (but for the
    seed), else as its siblings of the same kind have taken, by their median. What was taken over
    from another job tells nothing. Waiting behind others' jobs is not in it.

    Returns:
        Seconds; None where nothing is left, and while a job has no like.
    """
    left = [child for child in children if not child.is_terminal]
    if not left:
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
