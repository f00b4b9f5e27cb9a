"""What time brings to jobs that wait: their start_at and their expires_at."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, select

from app.shared.engine.jobs import enter_queue, is_due, move
from app.shared.engine.locks import lock_family
from app.shared.store.database import db_now
from app.shared.store.job_states import WAITING_STATES
from app.shared.store.kinds import is_composite
from app.shared.store.tables import jobs


def has_due_jobs(connection: Connection) -> bool:
    """Is there a scheduled job whose start_at has come?"""
    return connection.execute(_scheduled_and_due().limit(1)).one_or_none() is not None


def start_due(connection: Connection, *, limit: int = 100) -> int:
    """Edge m for the jobs whose start_at has come; tells how many."""
    due = _scheduled_and_due().order_by(jobs.c.id)
    ids = connection.execute(due.limit(limit).with_for_update(skip_locked=True)).scalars().all()
    return sum(enter_queue(connection, job_id, ("scheduled",)) is not None for job_id in ids)


def _scheduled_and_due() -> Select[Any]:
    return select(jobs.c.id).where(jobs.c.state == "scheduled", is_due())


def overdue_jobs(connection: Connection, *, limit: int = 20) -> list[str]:
    """Ids of jobs that have not started by their expires_at."""
    statement = select(jobs.c.id).where(jobs.c.state.in_(WAITING_STATES), _is_overdue())
    # In order: of two that are overdue, the one that needs the other ends because of it.
    return list(connection.execute(statement.order_by(jobs.c.id).limit(limit)).scalars())


def expire(connection: Connection, job_id: str) -> bool:
    """Edge n, of a pipeline for every child; False where it, or one of them, has started."""
    if not lock_family(connection, job_id, skip_locked=True):
        return False
    late = select(jobs.c.kind).where(jobs.c.id == job_id, _is_overdue())
    kind = connection.execute(late.with_for_update(skip_locked=True)).scalar_one_or_none()
    if kind is None:
        return False
    error = {"type": "expired", "message": "it had not started by its expires_at"}
    if not is_composite(kind):
        return move(connection, job_id, WAITING_STATES, "expired", error=error) is not None
    children = select(jobs.c.id, jobs.c.started_at).where(jobs.c.parent_id == job_id)
    rows = connection.execute(children.order_by(jobs.c.id).with_for_update()).all()
    if any(row.started_at is not None for row in rows):
        return False
    # The last first: nothing is left that waits for one that expires.
    for row in reversed(rows):
        move(connection, row.id, WAITING_STATES, "expired", error=error)
    return True


def _is_overdue() -> ColumnElement[bool]:
    return and_(jobs.c.expires_at < db_now(), jobs.c.started_at.is_(None))
