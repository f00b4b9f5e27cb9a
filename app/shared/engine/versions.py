"""What changes with a job, as polls and waits compare it: numbers instead of the whole job."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.shared.errors import NotFoundError
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.tables import jobs

_child = jobs.alias("child")
_below = select(func.coalesce(func.sum(_child.c.version), 0)).where(_child.c.parent_id == jobs.c.id)
_VERSIONS = select(
    jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.version, _below.scalar_subquery().label("below")
)
# Built once: it is what a poll asks that knows the last answer.
_ONE = _VERSIONS.where(jobs.c.owner_id == bindparam("of"), jobs.c.id == bindparam("wanted"))


@dataclass(frozen=True, kw_only=True)
class JobVersion:
    """A job as far as its version goes.

    Attributes:
        version: rises with each change of the job that users see.
        below: the sum of its children's versions; 0 where it has none.
    """

    id: str
    kind: str
    state: str
    version: int
    below: int

    @property
    def is_terminal(self) -> bool:
        """Has the job ended, for good?"""
        return self.state in TERMINAL_STATES


def find_version(connection: Connection, owner_id: str, job_id: str) -> JobVersion:
    """The version of one job.

    Raises:
        NotFoundError: there is none of that id, or it is another owner's.
    """
    row = connection.execute(_ONE, {"of": owner_id, "wanted": job_id}).one_or_none()
    if row is None:
        raise NotFoundError("job_not_found", f"there is no job {job_id}")
    return _version(row)


def versions_of(connection: Connection, job_ids: Iterable[str]) -> dict[str, JobVersion]:
    """The versions of many jobs in one query, by id; a job that is not there is left out."""
    rows = connection.execute(_VERSIONS.where(jobs.c.id.in_(list(job_ids))))
    return {row.id: _version(row) for row in rows}


def _version(row: Row[Any, Any, Any, Any, Any]) -> JobVersion:
    return JobVersion(
        id=row.id, kind=row.kind, state=row.state, version=row.version, below=row.below
    )
