"""Runs the migrations on an engine of their own.

On SQLite a batch migration drops and remakes a table; with foreign keys on, that would silently
delete every row that cascades from it. So this engine has them off, and checks them at the end.
"""

import sqlite3

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, event

from app.shared.store.tables import metadata

LOCK_TIMEOUT = "SET lock_timeout = '10s'"
ADVISORY_LOCK = "SELECT pg_advisory_lock(74001)"  # several replicas migrate one after the other


def run_migrations() -> None:
    """Apply the chain to the database that the configuration names."""
    url = context.config.get_main_option("sqlalchemy.url") or ""
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _foreign_keys_off)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(LOCK_TIMEOUT)
            connection.exec_driver_sql(ADVISORY_LOCK)
            connection.commit()
        _migrate(connection)
        if engine.dialect.name == "sqlite":
            _check_foreign_keys(connection)


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


def _foreign_keys_off(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise RuntimeError(f"the migration left rows that point at nothing: {broken[:5]}")


run_migrations()
