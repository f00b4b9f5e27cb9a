"""What tests of the engine share: a migrated database of either kind, and jobs in any state."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.shared.engine import jobs, runs
from app.shared.settings import Settings
from app.shared.store.database import Database, open_database
from app.shared.store.job_records import Ending, Job, NewJob

OWNER = "local"
LEASE_SECONDS = 60


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of a service on an empty database of its own."""
    return Settings(data_folder=tmp_path / "data", database_url=database_url)


@pytest.fixture
def migrated_settings(migrated_url: str, tmp_path: Path) -> Settings:
    """Settings of a service whose database is at head."""
    return Settings(data_folder=tmp_path / "data", database_url=migrated_url)


@pytest.fixture
def database(migrated_settings: Settings) -> Iterator[Database]:
    """A migrated database: each test that asks runs on SQLite and on PostgreSQL."""
    database = open_database(migrated_settings)
    yield database
    database.close()


def new_job(kind: str = "distill", **values: object) -> NewJob:
    """A job that a worker of queue gpu can claim."""
    return NewJob(**{"kind": kind, "params": {"dataset": "digits"}, "queue": "gpu", **values})


@pytest.fixture
def submit(database: Database) -> Callable[..., Job]:
    """Write a job and commit."""

    def write(**values: object) -> Job:
        with database.write() as connection:
            return jobs.insert_job(connection, OWNER, new_job(**values))

    return write


@pytest.fixture
def claim(database: Database) -> Callable[..., Job | None]:
    """Claim the next job of queue gpu and commit."""

    def take(lease_seconds: float = LEASE_SECONDS) -> Job | None:
        with database.write() as connection:
            return runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=lease_seconds)

    return take


@pytest.fixture
def in_state(
    database: Database, submit: Callable[..., Job], claim: Callable[..., Job | None]
) -> Callable[[str], Job]:
    """A job brought into a state by the engine's own calls."""

    def bring(state: str) -> Job:
        if state == "blocked":
            needed = submit(priority=-5)
            return submit(needs=(needed.id,))
        job = submit(priority=5)
        if state == "queued":
            return job
        if state == "cancelled":
            return cancel(database, job.id)
        run = claim()
        assert run is not None
        assert run.id == job.id
        with database.write() as connection:
            if state == "succeeded":
                return runs.succeed(connection, run, Ending())
            if state == "failed":
                return runs.fail(connection, run, {"type": "internal", "message": "m"}, Ending())
        if state == "cancelling":
            cancel(database, job.id)
        return run

    return bring


def cancel(database: Database, job_id: str) -> Job:
    """Ask for a job's cancel and commit."""
    with database.write() as connection:
        return jobs.request_cancel(connection, OWNER, job_id, grace_seconds=60)


def state_of(database: Database, job_id: str) -> str:
    """The state that stands in the database."""
    with database.read() as connection:
        return str(
            connection.execute(jobs.jobs.select().where(jobs.jobs.c.id == job_id)).one().state
        )
