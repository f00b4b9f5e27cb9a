"""Errors of a database by their codes: those that pass are 503, the others are ours."""

import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.shared.errors import UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.store.outages import is_away_by_driver


def test_a_read_only_database_is_away_for_a_while(
    database: Database, migrated_settings: Settings
) -> None:
    """A standby, or a file that may not be written: reading goes on, writing is 503."""
    if migrated_settings.database_url.startswith("sqlite"):
        read_only = "PRAGMA query_only=ON"
    else:
        read_only = "SET TRANSACTION READ ONLY"
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar() == 0

    def write() -> None:
        with database.write() as connection:
            connection.exec_driver_sql(read_only)
            connection.execute(text("DELETE FROM jobs"))

    with pytest.raises(UnavailableError):
        write()


def test_a_wrong_statement_is_ours(database: Database) -> None:
    """However much its words sound like an outage."""
    with pytest.raises(DBAPIError), database.write() as connection:
        connection.execute(text("SELECT locked_and_shutting_down FROM closed_connection"))


def test_words_do_not_count() -> None:
    """An error without a code is none of the database's."""
    assert not is_away_by_driver(sqlite3.OperationalError("database is locked"))
    assert not is_away_by_driver(ValueError("connection closed"))
    assert not is_away_by_driver(None)
