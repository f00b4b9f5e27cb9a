"""Which ended jobs are past their keeping: by age, and by the bytes of all their files.

Neither is limited unless the settings say so. Of two jobs the one that ended first goes first. A
job stays as long as another that stays was made from what it has made, so that no calibration goes
with its network and no network loses its set; sets of experts alone, which only distillations read,
go when no unended job needs them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    false,
    func,
    or_,
    select,
    type_coerce,
)

from app.shared.settings import Settings
from app.shared.store.database import db_now
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.kinds import EXPORT, INTAKE, Kind
from app.shared.store.tables import UtcTime, artifacts, job_deps, jobs

EXPERTS: Kind = "experts"
MOST_JOBS = 2000
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class PastJob:
    """A job that can go: an ended one, or a pipeline with its children.

    Attributes:
        n_bytes: of all its files, as their rows say; files that jobs share count for each.
    """

    id: str
    owner_id: str
    n_bytes: int


def past_jobs(connection: Connection, settings: Settings) -> list[PastJob]:
    """Jobs past `kept_job_days` or `kept_job_bytes` that no other needs, made last first.

    So what was made from a job goes before it.
    """
    if settings.kept_job_days is None and settings.kept_job_bytes is None:
        return []
    rows = _past(
        connection,
        jobs.c.kind != INTAKE,
        ended_at=jobs.c.ended_at,
        days=settings.kept_job_days,
        n_bytes=settings.kept_job_bytes,
    )
    needed_by = _needed_by(connection, [row.id for row in rows])
    going: set[str] = set()
    for row in rows:
        if needed_by.get(row.id, set()) <= going:
            going.add(row.id)
    return [PastJob(row.id, row.owner_id, row.n_bytes) for row in rows if row.id in going]


def past_experts(connection: Connection, settings: Settings) -> list[PastJob]:
    """Jobs of experts not used for `kept_expert_days`, or past `kept_expert_bytes`.

    Those within a pipeline stay as long as it does.
    """
    if settings.kept_expert_days is None and settings.kept_expert_bytes is None:
        return []
    user = jobs.alias("user")
    used_at = select(func.max(type_coerce(user.c.ended_at, BigInteger)))
    used_at = used_at.join(job_deps, job_deps.c.job_id == user.c.id)
    last_use = used_at.where(job_deps.c.needs_job_id == jobs.c.id).scalar_subquery()
    rows = _past(
        connection,
        jobs.c.kind == EXPERTS,
        ended_at=type_coerce(func.coalesce(last_use, jobs.c.ended_at), UtcTime()),
        days=settings.kept_expert_days,
        n_bytes=settings.kept_expert_bytes,
    )
    return [PastJob(row.id, row.owner_id, row.n_bytes) for row in rows]


def is_needed(connection: Connection, job_id: str) -> bool:
    """Is there a job, ended or not, that was made from what this one, or a child of it, made?"""
    return bool(_needed_by(connection, [job_id]))


def _past(
    connection: Connection,
    which: ColumnElement[bool],
    *,
    ended_at: ColumnElement[Any],
    days: float | None,
    n_bytes: int | None,
) -> Sequence[Row[Any]]:
    """Of the jobs that ended first, those past their keeping, made last first."""
    ended = _ended(which, ended_at).subquery()
    is_old = false() if days is None else ended.c.ended_at < db_now(-days * DAY_SECONDS)
    is_too_much = false() if n_bytes is None else ended.c.n_bytes_since > n_bytes
    past = select(ended).where(or_(is_old, is_too_much))
    rows = connection.execute(past.order_by(ended.c.ended_at, ended.c.id).limit(MOST_JOBS)).all()
    return sorted(rows, key=lambda row: str(row.id), reverse=True)


def _ended(which: ColumnElement[bool], ended_at: ColumnElement[Any]) -> Select[Any]:
    """Ended jobs with their bytes, and the bytes of each and all that ended after it."""
    part = jobs.alias("part")
    family = func.coalesce(part.c.parent_id, part.c.id)
    size = select(family.label("id"), func.sum(artifacts.c.n_bytes).label("n_bytes"))
    size = size.join(part, part.c.id == artifacts.c.job_id).group_by(family)
    sizes = size.subquery()
    n_bytes = type_coerce(func.coalesce(sizes.c.n_bytes, 0), BigInteger)
    newest_first = (ended_at.desc(), jobs.c.id.desc())
    return (
        select(
            jobs.c.id,
            jobs.c.owner_id,
            ended_at.label("ended_at"),
            n_bytes.label("n_bytes"),
            func.sum(n_bytes).over(order_by=newest_first).label("n_bytes_since"),
        )
        .outerjoin(sizes, sizes.c.id == jobs.c.id)
        .where(jobs.c.parent_id.is_(None), jobs.c.state.in_(TERMINAL_STATES), which)
    )


def _needed_by(connection: Connection, ids: Iterable[str]) -> dict[str, set[str]]:
    """For each of these jobs that is needed, the jobs or pipelines, other than it, that need it."""
    maker, user = jobs.alias("maker"), jobs.alias("user")
    made_by = func.coalesce(maker.c.parent_id, maker.c.id)
    used_by = func.coalesce(user.c.parent_id, user.c.id)
    links = (
        select(made_by.label("made_by"), used_by.label("used_by"))
        .join(job_deps, job_deps.c.needs_job_id == maker.c.id)
        .join(user, user.c.id == job_deps.c.job_id)
        # An export is the result once more, and goes with it.
        .where(made_by.in_(list(ids)), made_by != used_by, user.c.kind != EXPORT)
    )
    found: dict[str, set[str]] = {}
    for link in connection.execute(links):
        found.setdefault(link.made_by, set()).add(link.used_by)
    return found
