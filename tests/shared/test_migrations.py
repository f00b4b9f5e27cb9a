"""The chain of migrations makes the schema that tables.py describes, on both databases."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, insert, inspect, text
from sqlalchemy.exc import DBAPIError

from app.shared.database import Database, db_now, is_at_head, migrate, open_database
from app.shared.jobs import insert_job
from app.shared.settings import Settings
from app.shared.tables import metadata
from tests.shared.conftest import new_job

ROOT = Path(__file__).resolve().parents[2]


def alembic(url: str) -> Config:
    """A configuration as a developer would use it."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url)
    return config


def test_the_migrated_schema_is_the_described_one(settings: Settings) -> None:
    """Autogenerate finds nothing left to do."""
    migrate(settings)
    engine = create_engine(settings.sqlalchemy_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_twice_does_nothing(settings: Settings) -> None:
    """Any start may migrate."""
    migrate(settings)
    migrate(settings)

    database = open_database(settings)
    assert is_at_head(database)
    database.close()


def test_an_empty_database_is_not_at_head(settings: Settings) -> None:
    """Readiness notices a missing migration."""
    database = open_database(settings)
    assert not is_at_head(database)
    database.close()


def test_down_and_up_again(settings: Settings) -> None:
    """The last revision can be taken back, leaving nothing, and applied again."""
    migrate(settings)
    command.downgrade(alembic(settings.sqlalchemy_url), "base")
    engine = create_engine(settings.sqlalchemy_url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()

    migrate(settings)


def test_every_table_has_an_owner(database: Database) -> None:
    """owner_id stands in each table from the first migration."""
    with database.read() as connection:
        inspector = inspect(connection)
        for name in set(inspector.get_table_names()) - {"alembic_version"}:
            assert "owner_id" in {column["name"] for column in inspector.get_columns(name)}, name


@pytest.mark.parametrize(
    "values",
    [
        {"state": "dreaming"},
        {"state": "running"},
        {"state": "succeeded"},
        {"state": "queued", "ended_at": db_now()},
        {"state": "queued", "kind": "pipeline"},
    ],
    ids=["unknown state", "running, no lease", "ended, no time", "time, not ended", "composite"],
)
def test_impossible_jobs_are_refused_by_the_database(
    database: Database, values: dict[str, object]
) -> None:
    """The CHECKs hold whatever the code does."""
    row = {
        "id": "job_x",
        "owner_id": "local",
        "kind": "distill",
        "params": {},
        "queue": "gpu",
        "max_attempts": 1,
        "created_at": db_now(),
        **values,
    }
    with pytest.raises(DBAPIError, match=r"(?i)check"), database.write() as connection:
        connection.execute(insert(metadata.tables["jobs"]).values(**row))


def test_sqlite_refuses_rows_that_point_at_nothing(database: Database) -> None:
    """Foreign keys are on in the service, though off while migrating."""
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"), database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO job_deps (owner_id, job_id, needs_job_id) "
                "VALUES ('local', 'job_a', 'job_b')"
            )
        )


def test_times_survive_to_the_millisecond(database: Database) -> None:
    """The database's clock comes back as an aware UTC time on both databases."""
    with database.write() as connection:
        job = insert_job(connection, "local", new_job())

    assert job.created_at.utcoffset() is not None
    assert job.created_at.utcoffset().total_seconds() == 0
