"""What happened to a job, in order: dense numbers from 1, written with the change they tell of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, or_, select

from app.shared.store.database import db_now
from app.shared.store.tables import events

STATE = "state"
PROGRESS = "progress"
CHILD = "child"
NOTE = "note"

# SQLite takes an expression 1,000 deep at most, and an OR goes as deep as it has members.
_JOBS_AT_ONCE = 500

_WRITING = insert(events).values(created_at=db_now())


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        seq: 1 for a job's first event, without gaps.
        type: state, progress, child (a child of this pipeline changed), or note: something worth
            knowing of a run, a code and a message.
    """

    job_id: str
    seq: int
    type: str
    data: dict[str, Any]
    created_at: datetime


def record_event(
    connection: Connection,
    *,
    owner_id: str,
    job_id: str,
    seq: int,
    event_type: str,
    data: Mapping[str, Any],
) -> None:
    """Write one event; its number comes from the same transaction's change of the job."""
    values = {"owner_id": owner_id, "job_id": job_id, "seq": seq, "type": event_type}
    connection.execute(_WRITING, {**values, "data": dict(data)})


def record_events(
    connection: Connection,
    *,
    owner_id: str,
    event_type: str,
    told: Sequence[tuple[str, int, Mapping[str, Any]]],
) -> None:
    """Write many of one type and owner at once: of each its job, number and data."""
    if not told:
        return
    of_all = {"owner_id": owner_id, "type": event_type}
    rows = [{**of_all, "job_id": job, "seq": seq, "data": dict(data)} for job, seq, data in told]
    connection.execute(_WRITING, rows)


def list_events(
    connection: Connection, owner_id: str, job_id: str, *, after: int = 0, limit: int = 100
) -> list[Event]:
    """A job's events numbered above `after`, oldest first."""
    statement = (
        select(events)
        .where(events.c.owner_id == owner_id, events.c.job_id == job_id, events.c.seq > after)
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [_event(row) for row in connection.execute(statement)]


def told_events(connection: Connection, owner_id: str, job_id: str, *, most: int) -> list[Event]:
    """A job's notes, and about so many of its reports of progress, spread over all of them.

    However long it has run, no more than these leave the database.
    """
    own = (events.c.owner_id == owner_id, events.c.job_id == job_id)
    last = connection.execute(select(func.max(events.c.seq)).where(*own)).scalar_one() or 0
    stride = max(1, -(-last // most))
    is_wanted = or_(
        events.c.type == NOTE, and_(events.c.type == PROGRESS, events.c.seq % stride == 0)
    )
    rows = connection.execute(select(events).where(*own, is_wanted).order_by(events.c.seq))
    return [_event(row) for row in rows]


def events_after(
    connection: Connection, positions: Mapping[str, int], *, limit: int = 1000
) -> list[Event]:
    """The new events of many jobs in a few queries: the shared reader of all streams.

    Args:
        connection: a read transaction.
        positions: the last number seen, by job id; owners are checked when a stream opens.
        limit: most events in one answer.
    """
    found: list[Event] = []
    waiting = list(positions.items())
    for start in range(0, len(waiting), _JOBS_AT_ONCE):
        part = waiting[start : start + _JOBS_AT_ONCE]
        newer = [and_(events.c.job_id == job, events.c.seq > seq) for job, seq in part]
        statement = select(events).where(or_(*newer)).order_by(events.c.job_id, events.c.seq)
        rows = connection.execute(statement.limit(limit - len(found)))
        found += [_event(row) for row in rows]
        if len(found) == limit:
            break
    return found


def _event(row: Row[Any]) -> Event:
    return Event(
        job_id=row.job_id,
        seq=row.seq,
        type=row.type,
        data=row.data,
        created_at=row.created_at,
    )
