"""Jobs for later, and jobs that are not to be started too late: edges l, m and n."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from app.shared.engine import jobs, runs
from app.shared.errors import ConflictError
from app.shared.settings import Settings
from app.shared.store.database import Database, clock, db_now
from app.shared.store.job_records import Ending, Job, NewJob
from app.shared.store.tables import outbox
from app.shared.upkeep.reconciler import reconcile
from tests.shared.conftest import OWNER, cancel, new_job, state_of

Submit = Callable[..., Job]
Claim = Callable[..., Job | None]


@pytest.fixture
def now(database: Database) -> datetime:
    """The database's clock."""
    with database.read() as connection:
        return clock(connection)


def set_past(database: Database, job_id: str, column: str) -> None:
    """Let a time of a job have come a second ago."""
    with database.write() as connection:
        row = jobs.jobs.c.id == job_id
        connection.execute(update(jobs.jobs).where(row).values({column: db_now(-1)}))


def n_rings(database: Database) -> int:
    """How many rings the outbox holds."""
    with database.read() as connection:
        return len(connection.execute(select(outbox.c.id)).all())


def test_a_job_for_later_is_scheduled_then_queued_and_rung_for(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim, now: datetime
) -> None:
    """Edges l and m: nobody can claim it before its time."""
    job = submit(start_at=now + timedelta(hours=1))
    assert (job.state, job.queued_at, n_rings(database)) == ("scheduled", None, 0)
    reconcile(database, migrated_settings)
    assert claim() is None

    set_past(database, job.id, "not_before_at")
    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "queued"
    assert n_rings(database) == 1
    run = claim()
    assert run is not None
    assert run.id == job.id


def test_a_blocked_job_for_later_is_scheduled_when_it_waits_for_time_alone(
    database: Database, submit: Submit, claim: Claim, now: datetime
) -> None:
    """Edge l from blocked."""
    needed = submit()
    job = submit(needs=(needed.id,), start_at=now + timedelta(hours=1))
    assert job.state == "blocked"

    run = claim()
    assert run is not None
    with database.write() as connection:
        runs.succeed(connection, run, Ending())

    assert state_of(database, job.id) == "scheduled"


def test_a_scheduled_job_is_cancelled_at_once(
    database: Database, submit: Submit, now: datetime
) -> None:
    """Edge j from scheduled."""
    job = submit(start_at=now + timedelta(hours=1))

    assert cancel(database, job.id).state == "cancelled"


@pytest.mark.parametrize("state", ["queued", "blocked", "scheduled"])
def test_a_job_that_has_not_started_in_time_expires(
    database: Database, migrated_settings: Settings, submit: Submit, now: datetime, state: str
) -> None:
    """Edge n; what waits for it fails, and it cannot be cancelled any more."""
    values: dict[str, object] = {"expires_at": now + timedelta(hours=2)}
    if state == "blocked":
        values["needs"] = (submit().id,)
    if state == "scheduled":
        values["start_at"] = now + timedelta(hours=1)
    job = submit(**values)
    assert job.state == state
    waiting = submit(needs=(job.id,))
    reconcile(database, migrated_settings)
    assert state_of(database, job.id) == state

    set_past(database, job.id, "expires_at")
    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "expired"
    with database.read() as connection:
        left = jobs.locked_job(connection, OWNER, waiting.id)
    assert left.state == "failed"
    assert left.error is not None
    assert left.error["type"] == "dependency_expired"
    with pytest.raises(ConflictError, match="it is expired"):
        cancel(database, job.id)


def test_a_job_that_has_started_does_not_expire(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim, now: datetime
) -> None:
    """Neither while it runs, nor when it waits for its second attempt."""
    job = submit(expires_at=now + timedelta(hours=1))
    run = claim()
    assert run is not None
    set_past(database, job.id, "expires_at")
    reconcile(database, migrated_settings)
    assert state_of(database, job.id) == "running"

    with database.write() as connection:
        runs.release(connection, run, Ending())
    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "queued"


def insert_pipeline(database: Database, expires_at: datetime) -> tuple[Job, list[NewJob]]:
    """A pipeline of a, and b that needs it."""
    first = new_job(role="a")
    children = [first, new_job(role="b", needs=(first.id,))]
    pipeline = NewJob(kind="pipeline", params={}, expires_at=expires_at)
    with database.write() as connection:
        return jobs.insert_composite(connection, OWNER, pipeline, children), children


def test_a_pipeline_expires_as_a_whole(
    database: Database, migrated_settings: Settings, now: datetime
) -> None:
    """Every child with it, none as failed."""
    job, children = insert_pipeline(database, now + timedelta(hours=1))

    set_past(database, job.id, "expires_at")
    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "expired"
    assert [state_of(database, child.id) for child in children] == ["expired", "expired"]


def test_a_pipeline_of_which_a_job_has_started_does_not_expire(
    database: Database, migrated_settings: Settings, claim: Claim, now: datetime
) -> None:
    """Even where nobody has told the pipeline yet."""
    job, _ = insert_pipeline(database, now + timedelta(hours=1))
    assert claim() is not None

    set_past(database, job.id, "expires_at")
    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "blocked"


def test_three_reconcilers_start_and_end_each_job_once(
    database: Database, migrated_settings: Settings, submit: Submit, now: datetime
) -> None:
    """Passes are idempotent: one event and one ring a job."""
    due, late = submit(start_at=now + timedelta(hours=1)), submit(expires_at=now)
    set_past(database, due.id, "not_before_at")
    n_before = n_rings(database)

    for _ in range(3):
        reconcile(database, migrated_settings)

    assert (state_of(database, due.id), state_of(database, late.id)) == ("queued", "expired")
    assert n_rings(database) == n_before + 1
    with database.read() as connection:
        assert jobs.locked_job(connection, OWNER, due.id).version == due.version + 1
