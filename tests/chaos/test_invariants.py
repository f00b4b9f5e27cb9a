"""Each invariant sees what it is there to see: rows are spoilt one way at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.shared.engine import runs
from app.shared.engine.jobs import insert_composite, insert_job, request_cancel
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import record_artifact, record_result
from app.shared.store.database import Database, open_database
from app.shared.store.job_records import Ending, Job, NewJob
from tests.chaos.invariants import INVARIANTS, TABLES, broken, broken_files

OWNER = "local"
WON = "state = 'succeeded' AND kind <> 'pipeline'"
AGAIN = (
    "INSERT INTO events (owner_id, job_id, seq, type, data, created_at) "
    "SELECT owner_id, job_id, 99, {}, data, created_at FROM events "
    "WHERE type = 'state' AND data ->> 'state' = 'succeeded'"
)
SPOILT = {
    "every job has ended": "queued",
    "no job fails": "failed",
    "no job that a client was told of is missing": (
        "INSERT INTO chaos_submissions (number, job_id) VALUES (1, 'job_gone')"
    ),
    "a submission sent again is one job": "UPDATE jobs SET timeout_seconds = 7",
    "a key leads to a job": (
        "INSERT INTO idempotency_keys (owner_id, path, key, fingerprint, resource_id, created_at) "
        "VALUES ('local', '/v1/jobs', 'k', 'f', 'job_gone', 0)"
    ),
    "a job ends once, as its state says": AGAIN.format("type"),
    "nothing is told after the end": AGAIN.format("'progress'"),
    "events are numbered 1 to n": "DELETE FROM events WHERE seq = 2",
    "each claim is an attempt, its fence one higher": (
        f"UPDATE jobs SET fence = fence + 1 WHERE {WON}"
    ),
    "attempts are counted but for released ones, and bounded": (
        f"UPDATE jobs SET attempt = attempt + 1 WHERE {WON}"
    ),
    "no attempt is left open": "UPDATE attempts SET outcome = NULL",
    "one attempt has ended before the next begins": (
        "INSERT INTO attempts (owner_id, job_id, fence, attempt, worker, started_at) "
        "SELECT owner_id, job_id, fence + 1, 1, 'w', 0 FROM attempts"
    ),
    "the last attempt alone has succeeded, and only of a job that has": (
        "UPDATE attempts SET outcome = 'failed'"
    ),
    "no run is taken for lost within its lease": (
        "UPDATE attempts SET outcome = 'lost'",
        "INSERT INTO chaos_leases (job_id, fence, until_at) "
        "SELECT job_id, fence, ended_at + 1 FROM attempts",
    ),
    "no lease is left": "UPDATE jobs SET lease_owner = 'w'",
    "results are of the run that won": f"UPDATE jobs SET fence = 5 WHERE {WON}",
    "a job that succeeded has its result, once": "DELETE FROM distilled_sets",
    "every result has its files, and no file is without one": "DELETE FROM artifacts",
    "the same recipe gives the same bytes": (
        "UPDATE artifacts SET sha256 = 'other' WHERE id = (SELECT MIN(id) FROM artifacts)"
    ),
    "a cancel that was acknowledged is not followed by a success": (
        "INSERT INTO chaos_cancels (job_id) SELECT id FROM jobs"
    ),
    "a pipeline is what its children are": (
        "UPDATE jobs SET parent_id = (SELECT id FROM jobs WHERE kind = 'pipeline') "
        "WHERE state = 'cancelled'"
    ),
    "a job that succeeded had all it needs": (
        "INSERT INTO job_deps (owner_id, job_id, needs_job_id) SELECT j.owner_id, j.id, n.id "
        "FROM jobs j, jobs n WHERE j.state = 'succeeded' AND n.state = 'cancelled'"
    ),
    "every ring has been passed on": (
        "INSERT INTO outbox (owner_id, queue, created_at) VALUES ('local', 'gpu', 0)"
    ),
}


@pytest.fixture
def service(migrated_url: str, tmp_path: Path) -> Iterator[tuple[Database, Settings]]:
    """Rows and files of a quiet service: a job and a pipeline that succeeded, one cancelled."""
    settings = Settings(data_folder=tmp_path / "data", database_url=migrated_url)
    settings.folder.mkdir(exist_ok=True)
    database = open_database(settings)
    with database.write() as connection:
        for table in TABLES:
            connection.execute(text(table))
        insert_job(connection, OWNER, new_job(1))
        cancelled = insert_job(connection, OWNER, new_job(2))
        request_cancel(connection, OWNER, cancelled.id, grace_seconds=60)
        pipeline = NewJob(kind="pipeline", params={}, timeout_seconds=3)
        insert_composite(connection, OWNER, pipeline, [new_job(4)])
        connection.execute(text("DELETE FROM outbox"))
    for _ in range(2):
        with database.write() as connection:
            succeed(connection, settings)
    yield database, settings
    database.close()


def new_job(number: int) -> NewJob:
    """A job that a worker can claim."""
    return NewJob(kind="distill", params={}, queue="gpu", timeout_seconds=number)


def claim(connection: Connection) -> Job:
    """Take the next job."""
    run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
    assert run is not None
    return run


def succeed(connection: Connection, settings: Settings) -> None:
    """Claim a job and end it with a result of one file."""
    run = claim(connection)
    made = settings.folder / "made"
    made.write_text("bytes")
    stored = ArtifactStore(settings.artifact_folder).put(run.id, made)
    values = {"dataset": "digits", "method": "dm", "images_per_class": 1}
    told = {**values, "fence": run.fence, "recipe": "r"}
    result = record_result(connection, run, "distilled_set", told)
    file = {"name": "f", "media_type": "a/b", "sha256": stored.sha256, "n_bytes": stored.n_bytes}
    record_artifact(connection, run, result, **file)
    runs.succeed(connection, run, Ending())


def spoil(connection: Connection, how: str | tuple[str, ...]) -> None:
    """Bring the rows out of order."""
    if how in ("queued", "failed"):
        insert_job(connection, OWNER, new_job(5))
        if how == "failed":
            runs.fail(connection, claim(connection), {"type": "x", "message": ""}, Ending())
        return
    for statement in (how,) if isinstance(how, str) else how:
        connection.execute(text(statement))


class Undo(Exception):  # noqa: N818  not an error
    """Rolls a transaction back."""


def test_each_invariant_sees_what_breaks_it(service: tuple[Database, Settings]) -> None:
    """All hold at first; then, for each, something that it alone is there for."""
    database, settings = service
    with database.read() as connection:
        assert broken(connection) == {}
        assert broken_files(connection, settings) == {}
    assert SPOILT.keys() == INVARIANTS.keys()
    for name, how in SPOILT.items():
        with contextlib.suppress(Undo), database.write() as connection:
            spoil(connection, how)
            assert name in broken(connection), name
            raise Undo


def test_files_are_looked_at_too(service: tuple[Database, Settings]) -> None:
    """One that was altered, and one that is only half there."""
    database, settings = service
    file = next(settings.artifact_folder.glob("job_*/*"))
    file.write_text("other")
    (file.parent / ".1-half").touch()
    with database.read() as connection:
        found = broken_files(connection, settings)
    assert [len(rows) for rows in found.values()] == [1, 1]
