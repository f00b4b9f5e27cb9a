"""Reading jobs and their attempts; what moves them is in app.shared.engine.

Every query here is filtered by owner.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from app.shared.errors import NotFoundError
from app.shared.store.job_records import JOB_COLUMNS, Job, job_of
from app.shared.store.tables import attempts, jobs

# Built once: it is what every poll asks.
_ONE_JOB = select(*JOB_COLUMNS).where(
    jobs.c.owner_id == bindparam("of"), jobs.c.id == bindparam("wanted")
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run of a job, ended or not."""

    attempt: int
    fence: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    exit_reason: str | None
    peak_memory_bytes: int | None
    cpu_seconds: float | None
    resumed_from_step: int | None


def find_job(connection: Connection, owner_id: str, job_id: str) -> Job:
    """One job.

    Raises:
        NotFoundError: there is none of that id, or it is another owner's.
    """
    row = connection.execute(_ONE_JOB, {"of": owner_id, "wanted": job_id}).one_or_none()
    if row is None:
        raise NotFoundError("job_not_found", f"there is no job {job_id}")
    return job_of(row)


def list_jobs(
    connection: Connection,
    owner_id: str,
    *,
    filters: Mapping[str, str | int],
    after: str | None = None,
    limit: int = 50,
) -> list[Job]:
    """Jobs, newest first.

    Args:
        connection: a read transaction.
        owner_id: whose.
        filters: wanted values by column; "" for a job that has none.
        after: the id that the page before ended with.
        limit: most jobs in the answer.
    """
    statement = select(*JOB_COLUMNS).where(jobs.c.owner_id == owner_id)
    for name, value in filters.items():
        # 0 and False are values to look for.
        statement = statement.where(jobs.c[name] == (None if value == "" else value))
    if after is not None:
        statement = statement.where(jobs.c.id < after)
    rows = connection.execute(statement.order_by(jobs.c.id.desc()).limit(limit))
    return [job_of(row) for row in rows]


def children_of(connection: Connection, owner_id: str, job_id: str) -> list[Job]:
    """The jobs of a pipeline, in the order they were written."""
    statement = select(*JOB_COLUMNS).where(jobs.c.owner_id == owner_id, jobs.c.parent_id == job_id)
    return [job_of(row) for row in connection.execute(statement.order_by(jobs.c.id))]


def children_by_parent(
    connection: Connection, owner_id: str, parent_ids: Iterable[str]
) -> dict[str, list[Job]]:
    """The jobs of some pipelines, in one query; each pipeline's in the order they were written."""
    found: dict[str, list[Job]] = {parent_id: [] for parent_id in parent_ids}
    statement = select(*JOB_COLUMNS).where(
        jobs.c.owner_id == owner_id, jobs.c.parent_id.in_(list(found))
    )
    for row in connection.execute(statement.order_by(jobs.c.id)):
        found[row.parent_id].append(job_of(row))
    return found


def attempts_of(connection: Connection, owner_id: str, job_id: str) -> list[Attempt]:
    """The runs of a job, first one first."""
    statement = select(attempts).where(attempts.c.owner_id == owner_id, attempts.c.job_id == job_id)
    rows = connection.execute(statement.order_by(attempts.c.fence))
    names = Attempt.__dataclass_fields__
    return [Attempt(**{name: getattr(row, name) for name in names}) for row in rows]
