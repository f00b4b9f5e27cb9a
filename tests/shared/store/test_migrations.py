"""The chain of migrations makes the schema that tables.py describes, on both databases."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, insert, inspect, text
from sqlalchemy.exc import DBAPIError

from app.shared.engine.jobs import insert_job
from app.shared.settings import Settings
from app.shared.store.database import Database, db_now, is_at_head, migrate, open_database
from app.shared.store.tables import metadata
from tests.shared.conftest import new_job

ROOT = Path(__file__).resolve().parents[3]


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


def insert_row(engine: Engine, table: str, **values: object) -> None:
    """Write a row as the schema of the moment has it, whatever tables.py says."""
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)


def ids_in(engine: Engine, table: str, column: str = "id") -> list[str]:
    """What stands in a column."""
    with engine.connect() as connection:
        return sorted(connection.execute(text(f"SELECT {column} FROM {table}")).scalars())


def insert_chain(engine: Engine, key: str, *, model_id: str | None, **upload: object) -> None:
    """A job with its upload, calibration, report and file, all of one key."""
    own = {"owner_id": "local", "created_at": 1}
    insert_row(
        engine, "jobs", id=f"job_{key}", kind="calibrate", state="queued", params="{}",
        dataset=key, queue="gpu", max_attempts=1, **own,
    )  # fmt: skip
    made = {"job_id": f"job_{key}", **own}
    insert_row(
        engine, "datasets", id=f"data_{key}", name=key, state="ready", sha256="0", n_bytes=1,
        **made, **upload,
    )  # fmt: skip
    if model_id is not None:
        insert_row(
            engine, "models", id=model_id, dataset=key, training_set="full", details="{}", **made
        )
    insert_row(
        engine, "calibrations", id=f"cal_{key}", model_id=model_id, method="ts", status="ok",
        temperature=2.5, details="{}", **made,
    )  # fmt: skip
    insert_row(engine, "reports", id=f"rep_{key}", dataset=key, details="{}", **made)
    insert_row(
        engine, "report_calibrations", report_id=f"rep_{key}", calibration_id=f"cal_{key}",
        owner_id="local",
    )  # fmt: skip
    insert_row(
        engine, "artifacts", id=f"art_{key}", resource_id=f"cal_{key}", name="a", media_type="b",
        sha256="0", n_bytes=1, **made,
    )  # fmt: skip


OF_A_CHAIN = ("jobs", "datasets", "calibrations", "reports", "artifacts")


def test_rows_survive_the_way_to_uploaded_logits_and_back(settings: Settings) -> None:
    """0001 -> 0002 keeps every row; back again loses those of logits, and theirs alone."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    config = alembic(settings.sqlalchemy_url)
    command.upgrade(config, "0001")
    engine = create_engine(settings.sqlalchemy_url)
    insert_chain(engine, "images", model_id="mdl_images")

    command.upgrade(config, "0002")
    assert ids_in(engine, "datasets", "content") == ["images"]
    assert ids_in(engine, "report_calibrations", "calibration_id") == ["cal_images"]
    insert_chain(engine, "logits", model_id=None, content="logits")
    for table in OF_A_CHAIN:
        assert len(ids_in(engine, table)) == 2, table

    command.downgrade(config, "0001")
    for table in OF_A_CHAIN:
        assert [name.partition("_")[2] for name in ids_in(engine, table)] == ["images"], table
    assert ids_in(engine, "report_calibrations", "calibration_id") == ["cal_images"]
    with pytest.raises(DBAPIError, match=r"(?i)null"):
        insert_chain(engine, "more", model_id=None)
    command.upgrade(config, "head")
    engine.dispose()


def test_rows_survive_the_way_to_recipes_and_back(settings: Settings) -> None:
    """0002 -> 0003 keeps every row, old jobs without a recipe; back loses experts alone."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    config = alembic(settings.sqlalchemy_url)
    command.upgrade(config, "0002")
    engine = create_engine(settings.sqlalchemy_url)
    insert_chain(engine, "images", model_id="mdl_images")
    made = {"owner_id": "local", "created_at": 1, "job_id": "job_images", "dataset": "images"}
    insert_row(
        engine, "distilled_sets", id="set_images", method="dm", images_per_class=1, details="{}",
        **made,
    )  # fmt: skip

    command.upgrade(config, "0003")
    assert ids_in(engine, "jobs", "reuse") == [True]
    assert [ids_in(engine, "jobs", name) for name in ("recipe", "reused_from")] == [[None]] * 2
    insert_row(engine, "expert_sets", id="exp_a", n_experts=2, details="{}", **made)
    insert_row(
        engine, "distilled_sets", id="set_mtt", method="mtt", images_per_class=1, details="{}",
        expert_set_id="exp_a", **made,
    )  # fmt: skip

    command.downgrade(config, "0002")
    assert ids_in(engine, "distilled_sets") == ["set_images", "set_mtt"]
    assert ids_in(engine, "jobs") == ["job_images"]
    assert "expert_sets" not in inspect(engine).get_table_names()
    command.upgrade(config, "head")
    engine.dispose()


@pytest.mark.long
def test_the_way_back_waits_for_experts_at_work(settings: Settings) -> None:
    """A job that the old code cannot run is not left to it."""
    migrate(settings)
    engine = create_engine(settings.sqlalchemy_url)
    insert_row(
        engine, "jobs", id="job_a", kind="experts", state="queued", params="{}", queue="gpu",
        max_attempts=1, owner_id="local", created_at=1,
    )  # fmt: skip
    engine.dispose()
    with pytest.raises(RuntimeError, match="job_a of kind experts has not ended"):
        command.downgrade(alembic(settings.sqlalchemy_url), "0002")


@pytest.mark.parametrize(("column", "value"), [("content", "dreams"), ("state", "dreaming")])
def test_impossible_uploads_are_refused_by_the_database(
    settings: Settings, column: str, value: str
) -> None:
    """The CHECKs of a table that a migration has copied are there, old and new."""
    migrate(settings)
    engine = create_engine(settings.sqlalchemy_url)
    own = {"owner_id": "local", "created_at": 1}
    insert_row(
        engine, "jobs", id="job_a", kind="intake", state="queued", params="{}", queue="intake",
        max_attempts=1, **own,
    )  # fmt: skip
    upload = {"id": "data_a", "name": "a", "state": "ready", "content": "logits", "job_id": "job_a"}
    row = {**upload, "sha256": "0", "n_bytes": 1, **own, column: value}
    with pytest.raises(DBAPIError, match=r"(?i)check"):
        insert_row(engine, "datasets", **row)
    engine.dispose()
