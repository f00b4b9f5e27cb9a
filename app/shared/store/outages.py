"""Which errors mean that a database cannot be used, for a while or at all: no wrong statement.

By the codes that SQLite and PostgreSQL give them, never by their words, which differ by version and
language.
"""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError

_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_SQLITE_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF  # an extended code has its primary one in the last byte

# Classes of SQLSTATE, or whole states: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_STATES = (
    "08",  # connection exception
    "53",  # insufficient resources: disk full, too many connections, out of memory
    "57P",  # shutdown, crash, starting up, idle session ended
    "58",  # system error: input and output of the server
    "25006",  # read-only: a standby, or default_transaction_read_only
    "25P03",  # idle in a transaction for too long
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock not available in time
    "57014",  # statement timeout
)

_POSTGRESQL_DAMAGE = ("XX001", "XX002")  # data corrupted, index corrupted


def is_away(error: DBAPIError) -> bool:
    """Is the database away, busy, full or read-only? What was asked may go again later."""
    return error.connection_invalidated or is_away_by_driver(error.orig)


def is_away_by_driver(error: BaseException | None) -> bool:
    """The same of what a driver raises itself."""
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) in _SQLITE_CODES
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:  # the client's own: no connection, or one that has ended
            return isinstance(error, psycopg.OperationalError)
        return error.sqlstate.startswith(_POSTGRESQL_STATES)
    return False


def is_damage(error: BaseException | None) -> bool:
    """Does a driver's error say that the database's own bytes are damaged?"""
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) in _SQLITE_DAMAGE
    if isinstance(error, psycopg.Error):
        return error.sqlstate in _POSTGRESQL_DAMAGE
    return False


def is_refusal_to_write(error: BaseException | None) -> bool:
    """Does a driver's error say that the database can be read alone?"""
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) == sqlite3.SQLITE_READONLY
    return isinstance(error, psycopg.Error) and error.sqlstate == "25006"


def _sqlite_code(error: sqlite3.Error) -> int:
    # Errors that Python's module raises by itself have no code, and are ours.
    return getattr(error, "sqlite_errorcode", -1) & _PRIMARY
