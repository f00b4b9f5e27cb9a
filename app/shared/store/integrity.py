"""Whether the database itself is sound, as far as it can be asked."""

from dataclasses import dataclass

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from app.shared.errors import DamagedDatabaseError
from app.shared.store.database import Database


@dataclass(frozen=True, kw_only=True)
class DatabaseCheck:
    """What came of a look at the database.

    Attributes:
        extent: what was looked at, and what was not, in words.
        complaints: what is wrong, in the database's words; empty where nothing is.
    """

    extent: str
    complaints: tuple[str, ...]


def check_database(database: Database) -> DatabaseCheck:
    """Read all of the database.

    SQLite checks itself: every page, row and index, and every foreign key. PostgreSQL reads every
    row, which its checksums verify where they are on; indexes and unused pages have tools of
    their own.

    Raises:
        UnavailableError: the database does not answer.
    """
    try:
        with database.read() as connection:
            if connection.dialect.name == "sqlite":
                return _check_sqlite(connection)
            n_failures = _checksum_failures(connection)
            tables = inspect(connection).get_table_names()
    except DamagedDatabaseError as error:
        return DatabaseCheck(extent="it cannot be read", complaints=(error.words,))
    except DBAPIError as error:
        return DatabaseCheck(extent="it cannot be read", complaints=(str(error.orig),))
    complaints = [words for name in tables for words in _unreadable(database, name)]
    if n_failures:
        complaints.append(f"PostgreSQL has counted {n_failures} checksum failures")
    checksums = "on" if n_failures is not None else "off: a changed byte in a row is not seen"
    extent = (
        f"every row was read (data checksums are {checksums}); indexes and unused pages were not: "
        "pg_amcheck and pg_checksums do that"
    )
    return DatabaseCheck(extent=extent, complaints=tuple(complaints))


def _check_sqlite(connection: Connection) -> DatabaseCheck:
    said = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
    complaints = [str(line) for line in said if line != "ok"]
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    complaints += [
        f"row {row_id} of {table} names a row of {parent} that is not there"
        for table, row_id, parent, _ in orphans
    ]
    return DatabaseCheck(
        extent="every page, index and foreign key was checked", complaints=tuple(complaints)
    )


def _checksum_failures(connection: Connection) -> int | None:
    """How many pages PostgreSQL has found damaged so far; None where it keeps no checksums."""
    statement = "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"
    n_failures: int | None = connection.exec_driver_sql(statement).scalar_one()
    return n_failures


def _unreadable(database: Database, table: str) -> tuple[str, ...]:
    """What PostgreSQL says where it cannot read all rows of a table."""
    try:
        with database.read() as connection:
            # As text: what is stored apart from its row is read, too.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f'SELECT count(r::text) FROM "{table}" AS r')  # noqa: S608
    except DamagedDatabaseError as error:
        return (f"{table}: {error.words}",)
    except DBAPIError as error:
        return (f"{table}: {error.orig}",)
    return ()
