"""Runs and the bells that begin them: each job is one's, who is heard of keeps it."""

from collections.abc import Callable

from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.store.job_queries import attempts_of
from app.shared.store.job_records import Job
from app.shared.upkeep.reconciler import reconcile
from tests.shared.conftest import OWNER, state_of


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
