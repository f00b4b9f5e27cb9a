"""Runs and the bells that begin them: each job is one's, who is heard of keeps it."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, text

from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.store.job_queries import attempts_of
from app.shared.store.job_records import Job
from app.shared.store.tables import outbox
from app.shared.upkeep.reconciler import reconcile
from benchmarks.lists import plan_of
from tests.shared.conftest import OWNER, state_of


def plan_of_a_claim(database: Database) -> str:
    """How the database finds the next job, where it may not read whole tables instead."""
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        return plan_of(connection, lambda: connection.execute(runs._NEXT, {"of": "gpu"}).all())


def test_a_run_heard_of_meanwhile_is_not_recovered(
    database: Database, submit: Callable[..., Job], claim: Callable[..., Job | None]
) -> None:
    """Its lease had passed at the first look; before the second it was prolonged."""
    job = submit()
    run = claim(-1.0)
    assert run is not None
    with database.read() as connection:
        assert runs.lost_jobs(connection) == [job.id]
    with database.write() as connection:
        runs.beat(connection, run, lease_seconds=60)

    with database.write() as connection:
        assert runs.recover_lost(connection, job.id) is None

    assert state_of(database, job.id) == "running"


def test_a_bell_too_many_finds_nothing(
    submit: Callable[..., Job], claim: Callable[..., Job | None]
) -> None:
    """It says nothing of a job: each bell takes what waits, and in the end there is nothing."""
    ids = [submit().id for _ in range(2)]

    taken = [claim() for _ in range(4)]

    assert [run and (run.id, run.fence) for run in taken] == [(ids[0], 1), (ids[1], 1), None, None]


def test_leases_ended_at_a_start_are_recovered_at_once(
    database: Database,
    migrated_settings: Settings,
    submit: Callable[..., Job],
    claim: Callable[..., Job | None],
) -> None:
    """However long they had been meant to be; what waits is left alone."""
    job, waiting = submit(), submit()
    claim(100_000.0)
    with database.write() as connection:
        assert runs.end_leases(connection) == 1

    reconcile(database, migrated_settings)

    assert (state_of(database, job.id), state_of(database, waiting.id)) == ("queued", "queued")
    with database.read() as connection:
        (attempt,) = attempts_of(connection, OWNER, job.id)
    assert attempt.outcome == "lost"


def test_attempts_are_shown_to_their_owner_alone(
    database: Database, submit: Callable[..., Job], claim: Callable[..., Job | None]
) -> None:
    """Another owner who knows the job's id sees none."""
    job = submit()
    claim()
    with database.read() as connection:
        assert len(attempts_of(connection, OWNER, job.id)) == 1
        assert attempts_of(connection, "somebody else", job.id) == []


def test_a_claim_takes_the_first_of_the_queue_by_its_index(
    database: Database, submit: Callable[..., Job], claim: Callable[..., Job | None]
) -> None:
    """By priority, then by age, and no queue is sorted for it, however long it is."""
    order = [submit(priority=priority).id for priority in (0, 2, 2, 1)]
    taken = [claim() for _ in range(4)]
    assert [run and run.id for run in taken] == [order[1], order[2], order[3], order[0]]
    plan = plan_of_a_claim(database)
    assert "ix_jobs_claim" in plan
    assert "sort" not in plan.lower()
    assert "temp b-tree" not in plan.lower()


@pytest.mark.parametrize("n_others", [0, 1, 3])
def test_who_wakes_wakes_one_more_while_there_is_work(
    database: Database,
    submit: Callable[..., Job],
    claim: Callable[..., Job | None],
    n_others: int,
) -> None:
    """One ring, whatever else waits; none for another queue's jobs, or for those not yet due."""
    submit()
    for _ in range(n_others):
        submit()
    submit(queue="intake")
    with database.write() as connection:
        connection.execute(outbox.delete())
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        assert run is not None
        runs.ring_for_the_next(connection, run)
        rings = list(connection.execute(select(outbox.c.queue)).scalars())
    assert rings == ["gpu"] * min(n_others, 1)
