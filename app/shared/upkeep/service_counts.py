"""Counts of the whole service for those who watch over it; nothing in them tells of one owner."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, case, func, select, type_coerce, union

from app.shared.engine.jobs import is_due
from app.shared.store.database import db_now
from app.shared.store.job_states import ACTIVE_STATES
from app.shared.store.kinds import QUEUES
from app.shared.store.lease_clock import lease_now
from app.shared.store.tables import attempts, jobs, outbox


@dataclass(frozen=True, kw_only=True)
class QueueCounts:
    """One queue.

    Attributes:
        depth: jobs that wait in it.
        oldest_due_seconds: how long the oldest that may start has waited; 0 where none may.
    """

    depth: int = 0
    oldest_due_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ServiceCounts:
    """What the database says of the service now.

    Attributes:
        jobs: how many, by kind and state.
        queues: by name.
        attempts: how many, by outcome; those that have not ended are `running`.
        n_rings: those ordered and not yet rung.
    """

    jobs: Mapping[tuple[str, str], int]
    queues: Mapping[str, QueueCounts]
    attempts: Mapping[str, int]
    n_rings: int


def count_service(connection: Connection) -> ServiceCounts:
    """Look at everything once."""
    by_kind = select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state)
    outcome = func.coalesce(attempts.c.outcome, "running").label("outcome")
    by_outcome = select(outcome, func.count().label("n")).group_by(outcome)
    return ServiceCounts(
        jobs={(kind, state): n for kind, state, n in connection.execute(by_kind).all()},
        queues=queue_counts(connection),
        attempts={row.outcome: row.n for row in connection.execute(by_outcome).all()},
        n_rings=connection.execute(select(func.count()).select_from(outbox)).scalar_one(),
    )


def count_at_work(connection: Connection) -> int:
    """How many jobs run or are being stopped; by an index, however many have ended."""
    at_work = select(func.count()).where(jobs.c.state.in_(ACTIVE_STATES))
    return int(connection.execute(at_work).scalar_one())


def queue_counts(connection: Connection) -> dict[str, QueueCounts]:
    """What waits in each queue."""
    due_at = type_coerce(func.coalesce(jobs.c.not_before_at, jobs.c.queued_at), BigInteger)
    waited = type_coerce(db_now(), BigInteger) - func.min(case((is_due(), due_at)))
    waiting = select(jobs.c.queue, func.count().label("depth"), waited.label("waited"))
    waiting = waiting.where(jobs.c.state == "queued").group_by(jobs.c.queue)
    found: dict[str, QueueCounts] = {name: QueueCounts() for name in QUEUES}
    for row in connection.execute(waiting).all():
        seconds = max(row.waited or 0, 0) / 1000
        found[row.queue] = QueueCounts(depth=row.depth, oldest_due_seconds=seconds)
    return found


def count_unserved(connection: Connection, *, patience_seconds: float) -> Mapping[str, QueueCounts]:
    """The queues whose jobs nobody takes, by name.

    A worker that lives takes a job within seconds, unless it has one: then the run has a lease, or
    has ended just now.

    Args:
        connection: to the database.
        patience_seconds: so long a job may wait, and a run be over, before that says something.
    """
    late = {
        name: queue
        for name, queue in queue_counts(connection).items()
        if queue.oldest_due_seconds > patience_seconds
    }
    served = select(jobs.c.queue).where(
        jobs.c.state.in_(ACTIVE_STATES), jobs.c.lease_until_at > lease_now()
    )
    lately = select(jobs.c.queue).join(attempts, attempts.c.job_id == jobs.c.id)
    lately = lately.where(
        attempts.c.ended_at > db_now(-patience_seconds), attempts.c.outcome != "lost"
    )
    alive = set(connection.execute(union(served, lately)).scalars()) if late else set()
    return {name: queue for name, queue in late.items() if name not in alive}
