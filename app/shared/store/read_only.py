"""Whether a database takes writes, asked without writing anything."""

import sqlite3

from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.shared.store.database import Database
from app.shared.store.outages import is_refusal_to_write


def is_read_only(database: Database) -> bool:
    """Does the database refuse whatever is written? Waits for no other writer.

    Raises:
        UnavailableError: it does not answer, or is damaged.
    """
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            # A standby says the same as a database that has been set so.
            said = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one()
            return bool(said == "on")
        url = connection.engine.url
    return _refuses_writers(url)


def _refuses_writers(url: URL) -> bool:
    """Of SQLite, by a new connection: those of the pools may have been opened in better times."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": 0})
    try:
        connection = engine.raw_connection()
        try:
            driver = connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.isolation_level = None
            # BEGIN IMMEDIATE alone becomes BEGIN where the file is read-only.
            driver.execute("DELETE FROM alembic_version WHERE 0")
        finally:
            connection.close()
    except (DBAPIError, sqlite3.Error) as error:
        # Whatever else it says, as that another one writes: it would have said so to a reader, too.
        return is_refusal_to_write(error.orig if isinstance(error, DBAPIError) else error)
    return False
