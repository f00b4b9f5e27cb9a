"""The clock that leases are compared by, which nobody can set.

On PostgreSQL it is the server's, as for all other times. On SQLite, whose processes are all of one
machine, it is the machine's monotonic clock: it stands still while the machine sleeps, and does not
step when somebody corrects the time. Each boot has a range of its own, so that a lease of an
earlier one is known as such.
"""

import hashlib
import sqlite3
import time
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.shared.store.tables import UtcTime

SQLITE_FUNCTION = "ddcal_machine_clock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOOT_MILLISECONDS = 2**38  # nearly nine years
# Beyond all times of day, which leases were once; still a date that Python can say.
_FIRST_RANGE, _N_RANGES = 16, 496


class DatabaseClock(FunctionElement[Any]):
    """A clock of the database, so many seconds from now; on PostgreSQL there is one.

    The name of a parameter instead of seconds is one in milliseconds, for a statement built once.
    """

    type = UtcTime()
    inherit_cache = True

    def __init__(self, plus: float | str = 0) -> None:
        if isinstance(plus, str):
            super().__init__(bindparam(plus, type_=BigInteger))
        else:
            super().__init__(bindparam(None, round(plus * 1000), BigInteger))


@compiles(DatabaseClock, "postgresql")
def _postgresql_now(element: DatabaseClock, compiler: SQLCompiler, **kw: object) -> str:
    offset = compiler.process(element.clauses, **kw)
    # now() would be the transaction's start, however long it has waited for a lock since.
    return f"(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + {offset})"


class lease_now(DatabaseClock):  # noqa: N801  reads as the SQL function it is
    """The clock of leases, so many seconds from now."""

    inherit_cache = True


@compiles(lease_now, "sqlite")
def _sqlite_now(element: lease_now, compiler: SQLCompiler, **kw: object) -> str:
    return f"({SQLITE_FUNCTION}() + {compiler.process(element.clauses, **kw)})"


def has_passed(until: ColumnElement[Any]) -> ColumnElement[bool]:
    """Is a time of this clock over, or one of another boot of the machine?"""
    return or_(until < lease_now(), until > lease_now(_BOOT_MILLISECONDS / 2000))


def provide_lease_clock(connection: sqlite3.Connection) -> None:
    """Give a connection to SQLite the function that `lease_now` calls."""
    connection.create_function(SQLITE_FUNCTION, 0, machine_clock)


def machine_clock() -> int:
    """Milliseconds by this machine's monotonic clock, in the range of this boot."""
    return _start_of_range() + time.monotonic_ns() // 1_000_000


@cache
def _start_of_range() -> int:
    boot = _BOOT_ID.read_bytes() if _BOOT_ID.exists() else b""
    number = int.from_bytes(hashlib.sha256(boot).digest()[:8], "big")
    return (_FIRST_RANGE + number % _N_RANGES) * _BOOT_MILLISECONDS
