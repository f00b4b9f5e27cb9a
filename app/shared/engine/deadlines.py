"""What time brings to jobs that wait: their start_at and their expires_at."""

from sqlalchemy import ColumnElement, Connection, and_, select

from app.shared.engine.jobs import enter_queue, is_due, move
from app.shared.engine.locks import lock_family
from app.shared.store.database import db_now
from app.shared.store.job_states import WAITING_STATES
from app.shared.store.kinds import is_composite
from app.shared.store.tables import jobs


def due_jobs(connection: Connection, *, limit: int = 100) -> list[str]:
    """Ids of scheduled jobs whose start_at has come."""
    statement = select(jobs.c.id).where(jobs.c.state == "scheduled", is_due())
    return list(connection.execute(statement.order_by(jobs.c.id).limit(limit)).scalars())


def start(connection: Connection, job_id: str) -> bool:
    """Edge m; False where the job, or its pipeline, is held by somebody or has moved on."""
    if not lock_family(connection, job_id, skip_locked=True):
        return False
    return enter_queue(connection, job_id, ("scheduled",)) is not None


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
