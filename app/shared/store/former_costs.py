"""What jobs have cost that asked for the same: time and disk, to estimate what others will."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, func, select

from app.shared.store.job_records import NewJob
from app.shared.store.tables import artifacts, jobs

N_FORMER = 1_000
"""The newest of an owner's succeeded jobs that are looked through."""
_ID = re.compile(r"\b[a-z]{3}_[0-9a-z]{26}\b")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What some jobs will take, as far as others like them have been run.

    Attributes:
        seconds: of trainers, one after the other.
        n_bytes: of results.
        n_unknown: jobs of which none like it has been run; they are in neither sum.
    """

    seconds: float
    n_bytes: int
    n_unknown: int


def costs_of(connection: Connection, owner_id: str, new: Sequence[NewJob]) -> Costs:
    """Estimate jobs by the median of those that asked for the same, but for the seed."""
    kinds = {job.kind for job in new}
    former = (
        select(jobs.c.id, jobs.c.kind, jobs.c.params, jobs.c.started_at, jobs.c.ended_at)
        .where(
            jobs.c.owner_id == owner_id,
            jobs.c.kind.in_(kinds),
            jobs.c.state == "succeeded",
            jobs.c.reused_from.is_(None),
            jobs.c.started_at.is_not(None),
        )
        .order_by(jobs.c.id.desc())
        .limit(N_FORMER)
    )
    rows = connection.execute(former).all()
    sizes = _sizes(connection, [row.id for row in rows])
    found: dict[str, list[tuple[float, int]]] = {}
    for row in rows:
        seconds = (row.ended_at - row.started_at).total_seconds()
        found.setdefault(_alike(row.kind, row.params), []).append((seconds, sizes.get(row.id, 0)))
    known = [found.get(_alike(job.kind, job.params), []) for job in new]
    return Costs(
        seconds=round(sum(median(one[0] for one in own) for own in known if own), 1),
        n_bytes=round(sum(median(one[1] for one in own) for own in known if own)),
        n_unknown=sum(not own for own in known),
    )


def _sizes(connection: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    summed = select(artifacts.c.job_id, func.sum(artifacts.c.n_bytes))
    rows = connection.execute(
        summed.where(artifacts.c.job_id.in_(job_ids)).group_by(artifacts.c.job_id)
    )
    return {row[0]: int(row[1]) for row in rows}


def _alike(kind: str, params: Mapping[str, Any]) -> str:
    """What is the same for jobs that ask for the same, whatever seed and inputs they name."""
    asked = {name: value for name, value in params.items() if name != "seed"}
    return kind + _ID.sub("", json.dumps(asked, sort_keys=True))
