"""Who holds what on PostgreSQL while it waits: the pipeline above comes before its jobs."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text, update

from app.shared.engine import jobs, runs
from app.shared.engine.locks import lock_family
from app.shared.errors import UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import Database, clock, db_now, migrate, open_database
from app.shared.store.job_records import Ending, Job, NewJob
from app.shared.upkeep.reconciler import reconcile
from tests.shared.conftest import OWNER, new_job, state_of
from tests.waiting import until

WAITING = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


@pytest.fixture
def on_postgres(postgres_url: str, tmp_path: Path) -> Settings:
    """Settings on a migrated PostgreSQL."""
    settings = Settings(data_folder=tmp_path / "data", database_url=postgres_url)
    migrate(settings)
    return settings


@pytest.fixture
def postgres(on_postgres: Settings) -> Iterator[Database]:
    """That database."""
    database = open_database(on_postgres)
    yield database
    database.close()


def pipeline_of(postgres: Database, child: NewJob) -> Job:
    """A pipeline of one job."""
    with postgres.write() as connection:
        new = NewJob(kind="pipeline", params={})
        return jobs.insert_composite(connection, OWNER, new, [child])


def is_held(connection: Connection, job_id: str) -> bool:
    """Whether somebody else holds a job's row."""
    row = select(jobs.jobs.c.id).where(jobs.jobs.c.id == job_id)
    locking = row.with_for_update(skip_locked=True)
    return connection.execute(locking).one_or_none() is None


def test_a_job_whose_pipeline_is_held_is_not_started(
    postgres: Database, on_postgres: Settings
) -> None:
    """Whoever holds the pipeline, to cancel it, wants the job next."""
    with postgres.read() as connection:
        later = clock(connection) + timedelta(hours=1)
    child = new_job(start_at=later)
    pipeline = pipeline_of(postgres, child)
    with postgres.write() as connection:
        connection.execute(update(jobs.jobs).values(not_before_at=db_now(-1)))
    with postgres.write() as connection:
        assert lock_family(connection, pipeline.id)
        reconcile(postgres, on_postgres)  # does not wait
        assert not is_held(connection, child.id)
    assert state_of(postgres, child.id) == "scheduled"
    reconcile(postgres, on_postgres)
    assert state_of(postgres, child.id) == "queued"


def test_what_waits_in_a_pipeline_that_is_held_is_not_held_before_it(postgres: Database) -> None:
    """A check of an upload ends while a pipeline on it is being cancelled."""
    with postgres.write() as connection:
        needed = jobs.insert_job(connection, OWNER, new_job())
    child = new_job(needs=(needed.id,))
    pipeline = pipeline_of(postgres, child)
    with postgres.write() as connection:
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
    assert run is not None

    def succeed() -> None:
        # A lock is waited for as long as its setting says, and then asked for again.
        with contextlib.suppress(UnavailableError), postgres.write() as connection:
            runs.succeed(connection, run, Ending())
            return
        succeed()

    def is_waiting() -> bool:
        with postgres.read() as connection:
            return connection.execute(text(WAITING)).scalar_one() > 0

    ending = threading.Thread(target=succeed)
    with postgres.write() as connection:
        assert lock_family(connection, pipeline.id)
        ending.start()
        until(is_waiting)
        assert not is_held(connection, child.id)
    ending.join()
    assert state_of(postgres, child.id) == "queued"
