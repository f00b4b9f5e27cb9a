"""Reading jobs and their attempts; what moves them is in app.shared.engine.

Every query here is filtered by owner.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    union_all,
)

from app.shared.errors import NotFoundError
from app.shared.store.descriptions import EVERYTHING, Search, change_description, found_by
from app.shared.store.job_records import JOB_COLUMNS, Job, job_of
from app.shared.store.job_states import ACTIVE_STATES, JobState
from app.shared.store.kinds import COMPARE, COMPOSITE_KINDS, KINDS, is_composite
from app.shared.store.tables import attempts, job_deps, jobs

LAST_PLACE = 1_000
"""Places in the queue are counted up to here."""

# Built once: it is what every poll asks.
_ONE_JOB = select(*JOB_COLUMNS).where(
    jobs.c.owner_id == bindparam("of"), jobs.c.id == bindparam("wanted")
)

_own = jobs.alias("own")
_FIRST_ONES = (
    select(jobs.c.id)
    .join(_own, and_(jobs.c.queue == _own.c.queue, jobs.c.state == "queued"))
    .where(_own.c.id == bindparam("wanted"))
    .where(
        or_(
            jobs.c.priority > _own.c.priority,
            and_(jobs.c.priority == _own.c.priority, jobs.c.id < _own.c.id),
        )
    )
    .limit(LAST_PLACE - 1)
)
_N_BEFORE = select(func.count()).select_from(_FIRST_ONES.subquery())


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


def describe_one(
    connection: Connection, owner_id: str, job_id: str, given: Mapping[str, Any]
) -> None:
    """Change a job's name, tags or notes, and with them its version.

    Raises:
        NotFoundError: there is none of that id, or it is another owner's.
        InvalidRequestError: see `change_description`.
    """
    if not change_description(connection, owner_id, jobs, job_id, given):
        raise NotFoundError("job_not_found", f"there is no job {job_id}")


def list_jobs(
    connection: Connection,
    owner_id: str,
    *,
    filters: Mapping[str, str | int | float],
    search: Search = EVERYTHING,
    after: str | None = None,
    limit: int = 50,
) -> list[Job]:
    """Jobs, newest first.

    Args:
        connection: a read transaction.
        owner_id: whose.
        filters: wanted values by column; "" for a job that has none. The state is the one shown.
        search: what else they have to have.
        after: the id that the page before ended with.
        limit: most jobs in the answer.
    """
    statement = select(*JOB_COLUMNS).where(jobs.c.owner_id == owner_id)
    for name, value in filters.items():
        if name == "state":
            statement = statement.where(_is_shown_as(owner_id, str(value)))
        else:
            # 0 and False are values to look for.
            statement = statement.where(jobs.c[name] == (None if value == "" else value))
    statement = statement.where(*found_by(connection, owner_id, jobs, "job", search))
    if after is not None:
        statement = statement.where(jobs.c.id < after)
    rows = connection.execute(statement.order_by(jobs.c.id.desc()).limit(limit))
    return [job_of(row) for row in rows]


def shown_state(job: Job) -> JobState:
    """A job's state as users see it: a pipeline runs once one of its jobs has begun to.

    Stored, it is blocked until they have ended; see app.shared.engine.jobs.
    """
    has_begun = is_composite(job.kind) and job.started_at is not None
    return "running" if job.state == "blocked" and has_begun else job.state


def _is_shown_as(owner_id: str, state: str) -> ColumnElement[bool]:
    """`shown_state`, asked of rows."""
    if state not in ("running", "blocked"):
        return jobs.c.state == state
    has_begun = and_(jobs.c.kind.in_(COMPOSITE_KINDS), jobs.c.started_at.is_not(None))
    if state == "blocked":
        return and_(jobs.c.state == "blocked", not_(has_begun))
    # Those of either state, who are few, by its index; an OR would be looked for in every row.
    of_owner = select(jobs.c.id).where(jobs.c.owner_id == owner_id)
    begun = of_owner.where(jobs.c.state == "blocked", has_begun)
    return jobs.c.id.in_(union_all(of_owner.where(jobs.c.state == "running"), begun))


def place_in_queue(connection: Connection, job_id: str) -> int:
    """How many jobs a worker would take before a queued one, and one; at most `LAST_PLACE`."""
    n_before: int = connection.execute(_N_BEFORE, {"wanted": job_id}).scalar_one()
    return n_before + 1


def first_waiting(connection: Connection, pipeline_id: str) -> str | None:
    """The job of a pipeline that a worker would take first; None where none waits, or one runs."""
    row = jobs.c
    own = select(row.id, row.state).where(
        row.parent_id == pipeline_id, row.state.in_(("queued", *ACTIVE_STATES))
    )
    found = connection.execute(own.order_by(row.priority.desc(), row.id)).all()
    if not found or any(one.state != "queued" for one in found):
        return None
    first: str = found[0].id
    return first


def children_of(connection: Connection, owner_id: str, job_id: str) -> list[Job]:
    """The jobs of a pipeline, in the order they were written."""
    return children_by_parent(connection, owner_id, [job_id])[job_id]


def children_by_parent(
    connection: Connection, owner_id: str, parent_ids: Iterable[str]
) -> dict[str, list[Job]]:
    """The jobs of some pipelines, in one query; each pipeline's in the order they were written."""
    found: dict[str, list[Job]] = {parent_id: [] for parent_id in parent_ids}
    # As an expression the owner has no index: SQLite would take that, and read every job there is.
    is_owned = jobs.c.owner_id.concat("") == owner_id
    statement = select(*JOB_COLUMNS).where(is_owned, jobs.c.parent_id.in_(list(found)))
    for row in sorted(connection.execute(statement), key=lambda row: row.id):
        found[row.parent_id].append(job_of(row))
    return found


@dataclass(frozen=True, kw_only=True)
class Family:
    """The jobs of a composite one.

    Attributes:
        shown: all of a pipeline; of a study, which may have thousands, those at work and the one
            that compares. In the order they were written.
        counts: how many there are in each state.
    """

    shown: Sequence[Job] = ()
    counts: Mapping[JobState, int] = field(default_factory=dict)


NO_FAMILY = Family()


def families_of(connection: Connection, owner_id: str, parents: Iterable[Job]) -> dict[str, Family]:
    """The jobs of each composite job among some, by its id."""
    large = {job.id for job in parents if is_composite(job.kind) and not _is_small(job)}
    small = [job.id for job in parents if is_composite(job.kind) and _is_small(job)]
    whole = children_by_parent(connection, owner_id, small) if small else {}
    found = {
        parent_id: Family(shown=family, counts=Counter(child.state for child in family))
        for parent_id, family in whole.items()
    }
    return found | {parent_id: _large_family(connection, parent_id) for parent_id in large}


def _is_small(job: Job) -> bool:
    return KINDS[job.kind].shows_all_jobs


def _large_family(connection: Connection, parent_id: str) -> Family:
    own = jobs.c.parent_id == parent_id
    counting = select(jobs.c.state, func.count()).where(own).group_by(jobs.c.state)
    is_shown = or_(jobs.c.state.in_(ACTIVE_STATES), jobs.c.kind == COMPARE)
    showing = select(*JOB_COLUMNS).where(own, is_shown).order_by(jobs.c.id)
    return Family(
        shown=[job_of(row) for row in connection.execute(showing)],
        counts={row[0]: row[1] for row in connection.execute(counting)},
    )


def needs_of(connection: Connection, owner_id: str, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the jobs that have to succeed before each of some, in the order they came."""
    found: dict[str, list[str]] = {job_id: [] for job_id in job_ids}
    deps = job_deps.c
    # The others are waited for, however they end: they compute the same just now.
    statement = select(deps.job_id, deps.needs_job_id).where(
        deps.owner_id == owner_id, deps.job_id.in_(job_ids), not_(deps.is_soft)
    )
    for row in connection.execute(statement.order_by(deps.needs_job_id)):
        found[row.job_id].append(row.needs_job_id)
    return found


def attempts_of(connection: Connection, owner_id: str, job_id: str) -> list[Attempt]:
    """The runs of a job, first one first."""
    statement = select(attempts).where(attempts.c.owner_id == owner_id, attempts.c.job_id == job_id)
    rows = connection.execute(statement.order_by(attempts.c.fence))
    names = Attempt.__dataclass_fields__
    return [Attempt(**{name: getattr(row, name) for name in names}) for row in rows]
