"""How jobs are held while they change, in one order, so that nobody waits in a circle.

Whoever may end a job, or move its siblings, first locks the pipeline above it, so that two
children ending at once are seen one after the other. Then come the job, the pipelines above those
that wait for it, and these; what they need besides is read without a lock.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, not_, select

from app.shared.errors import ConflictError, NotFoundError
from app.shared.store.job_records import JOB_COLUMNS, Job, job_of
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.tables import job_deps, jobs


def lock_family(connection: Connection, job_id: str, *, skip_locked: bool = False) -> bool:
    """Lock the pipeline above a job, or the pipeline that the job itself is.

    Returns:
        Whether it holds the lock; False only with `skip_locked`, or without such a job.
    """
    row = connection.execute(select(jobs.c.parent_id).where(jobs.c.id == job_id)).one_or_none()
    top = job_id if row is None or row.parent_id is None else row.parent_id
    locking = select(jobs.c.id).where(jobs.c.id == top).with_for_update(skip_locked=skip_locked)
    return connection.execute(locking).one_or_none() is not None


def locked_job(connection: Connection, owner_id: str, job_id: str) -> Job:
    """One job of an owner, locked until the transaction ends.

    Raises:
        NotFoundError: there is no such job, or it is another owner's.
    """
    row = connection.execute(
        select(*JOB_COLUMNS)
        .where(jobs.c.id == job_id, jobs.c.owner_id == owner_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFoundError("job_not_found", f"there is no job {job_id}")
    return job_of(row)


def unfinished(connection: Connection, needs: Sequence[str]) -> list[str]:
    """Which of these jobs have still to succeed, each locked against ending meanwhile.

    Raises:
        ConflictError: one has ended without success, or is gone.
    """
    if not needs:
        return []
    rows = connection.execute(
        select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(needs)).with_for_update(read=True)
    ).all()
    gone = set(needs) - {row.id for row in rows}
    if gone:
        raise ConflictError("dependency_gone", f"job {min(gone)} has been deleted")
    for row in rows:
        if row.state in TERMINAL_STATES and row.state != "succeeded":
            raise ConflictError("dependency_failed", f"job {row.id} is {row.state}")
    return [row.id for row in rows if row.state != "succeeded"]


def has_unfinished(connection: Connection, job_id: str) -> bool:
    """Whether a job, locked, still waits for one; those are looked at without a lock.

    A lock would make two of them that end at once wait for each other. As it is, one ends after
    the other has had the lock on the job that waits, and sees that one's end.
    """
    needs = select(jobs.c.id).join(job_deps, job_deps.c.needs_job_id == jobs.c.id)
    has_ended = and_(job_deps.c.is_soft, jobs.c.state.in_(TERMINAL_STATES))
    is_open = and_(jobs.c.state != "succeeded", not_(has_ended))
    needs = needs.where(job_deps.c.job_id == job_id, is_open)
    return connection.execute(needs.limit(1)).one_or_none() is not None
