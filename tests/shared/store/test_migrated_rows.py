"""From every revision, on both databases: no row and no value is lost on the way to head."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic import command
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Engine,
    Integer,
    MetaData,
    create_engine,
    func,
    insert,
    inspect,
    select,
    update,
)

from app.shared.engine.jobs import insert_job
from app.shared.settings import Settings
from app.shared.store.database import Database, open_database
from app.shared.store.tables import job_deps, jobs
from tests.shared.conftest import new_job
from tests.shared.store.test_migrations import alembic

# What the CHECKs want; everything else is made up from a column's type.
GIVEN = {
    ("jobs", "state"): "failed",
    ("jobs", "kind"): "distill",
    ("datasets", "state"): "ready",
    ("datasets", "content"): "images",
}
JSON_VALUE = {"list": [1.5, None, "é\n", 2**53, True], "empty": {}}
Rows = dict[str, list[dict[str, Any]]]


def made_up(column: Column[Any]) -> object:
    """A value that a wrong type, or a table copied wrongly, would not give back."""
    if column.foreign_keys:
        (key,) = column.foreign_keys
        return f"{key.column.table.name}_id"
    if (column.table.name, column.name) in GIVEN:
        return GIVEN[column.table.name, column.name]
    match column.type:
        case JSON():
            return JSON_VALUE
        case Boolean():
            return False
        case BigInteger():
            return 2**45 + 1
        case Integer():
            return 7
        case Double():
            return 0.1
        case _:
            return f"{column.table.name}_{column.name}"[:20]


def seed(engine: Engine) -> Rows:
    """One row in each table of the schema of the moment, none of its columns empty."""
    reflected = MetaData()
    reflected.reflect(engine)
    with engine.begin() as connection:
        for table in reflected.sorted_tables:
            if table.name != "alembic_version":
                row = {column.name: made_up(column) for column in table.columns}
                connection.execute(insert(table).values(row))
    return rows_of(engine, {table.name: set(table.c.keys()) for table in reflected.sorted_tables})


def rows_of(engine: Engine, columns: dict[str, set[str]]) -> Rows:
    """All rows of these tables, as far as these columns go."""
    reflected = MetaData()
    reflected.reflect(engine)
    found: Rows = {}
    with engine.connect() as connection:
        for name in columns.keys() - {"alembic_version"}:
            table = reflected.tables[name]
            wanted = [table.c[column] for column in sorted(columns[name])]
            rows = connection.execute(select(*wanted))
            found[name] = [dict(row._mapping) for row in rows]
    return found


def columns_of(rows: Rows) -> dict[str, set[str]]:
    """Which columns some rows have, by table."""
    return {name: set(found[0]) for name, found in rows.items()}


@pytest.mark.long
@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_every_row_survives_the_way_to_head_and_one_step_back(
    settings: Settings, revision: str
) -> None:
    """A row in every table, a value in every column; then `alembic check` finds nothing to do."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    config = alembic(settings.sqlalchemy_url)
    command.upgrade(config, revision)
    engine = create_engine(settings.sqlalchemy_url)
    before = seed(engine)
    assert {len(rows) for rows in before.values()} == {1}
    assert before["jobs"][0]["params"] == JSON_VALUE

    command.upgrade(config, "head")
    assert rows_of(engine, columns_of(before)) == before
    command.check(config)
    command.downgrade(config, "-1")
    assert rows_of(engine, columns_of(before)) == before
    command.upgrade(config, "head")
    assert rows_of(engine, columns_of(before)) == before
    engine.dispose()


def test_both_databases_have_the_same_schema(
    migrated_sqlite: object, migrated_postgres: str, postgres_folder: str
) -> None:
    """Tables, columns, what may be empty, and the names of all that can be named."""
    urls = (
        f"sqlite:///{migrated_sqlite}",
        f"postgresql+psycopg://postgres@/{migrated_postgres}?host={postgres_folder}",
    )
    one, other = map(schema_of, urls)
    assert one == other


def schema_of(url: str) -> dict[str, object]:
    """A schema but for its types."""
    engine = create_engine(url)
    found = {}
    with engine.connect() as connection:
        inspector = inspect(connection)
        for name in inspector.get_table_names():
            named = (
                *inspector.get_indexes(name),
                *inspector.get_unique_constraints(name),
                *inspector.get_check_constraints(name),
                *inspector.get_foreign_keys(name),
                inspector.get_pk_constraint(name),
            )
            columns = {(one["name"], one["nullable"]) for one in inspector.get_columns(name)}
            found[name] = columns, {one["name"] for one in named}
    engine.dispose()
    return found


def test_a_time_with_an_offset_is_the_same_moment_in_both(database: Database) -> None:
    """12:00+02:00 comes back as 10:00Z."""
    noon = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    with database.write() as connection:
        job = insert_job(connection, "local", new_job())
        connection.execute(update(jobs).values(not_before_at=noon))
    with database.read() as connection:
        stored = connection.execute(select(jobs.c.not_before_at)).scalar_one()
        assert stored == datetime(2030, 1, 1, 10, tzinfo=UTC)
        assert stored.utcoffset() == timedelta(0)
        empty = select(func.count()).where(jobs.c.id == job.id, jobs.c.error.is_(None))
        assert connection.execute(empty).scalar_one() == 1, "None is NULL, not JSON's null"


def test_what_hangs_on_a_job_goes_with_it(migrated_settings: Settings) -> None:
    """Foreign keys hold where the service works, on SQLite too."""
    database = open_database(migrated_settings)
    engine = create_engine(migrated_settings.sqlalchemy_url)
    seed(engine)
    with database.write() as connection:
        connection.execute(job_deps.delete())
        connection.execute(jobs.delete())
    left = {name for name, rows in rows_of(engine, every_column(engine)).items() if rows}
    assert left == {"outbox", "idempotency_keys"}
    engine.dispose()
    database.close()


def every_column(engine: Engine) -> dict[str, set[str]]:
    """All columns of the schema of the moment."""
    reflected = MetaData()
    reflected.reflect(engine)
    return {table.name: set(table.c.keys()) for table in reflected.sorted_tables}
