"""One database, SQLite or PostgreSQL, spoken to in short transactions.

On SQLite a writer takes the lock when it begins (BEGIN IMMEDIATE): a transaction that reads first
and writes later would fail at once when another writes in between. On PostgreSQL each session
carries timeouts, so that a frozen process cannot hold a row for ever.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from app.shared.errors import DamagedDatabaseError, UnavailableError
from app.shared.settings import Settings, SettingsError
from app.shared.startup import complain, exit_over_settings, settings_or_exit
from app.shared.store.lease_clock import DatabaseClock, provide_lease_clock
from app.shared.store.outages import is_away, is_away_by_driver, is_damage

__all__ = [
    "NOT_MIGRATED",
    "Connection",
    "Database",
    "clock",
    "db_now",
    "is_at_head",
    "migrate",
    "newest_revision",
    "open_database",
    "require_head",
    "run_by_hand",
    "settings_with_database_or_exit",
]

NOT_MIGRATED = "the database lacks migrations: run `ddcal migrate`"
MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"
POSTGRESQL_OPTIONS = (
    "-c idle_in_transaction_session_timeout=10s -c lock_timeout=3s -c statement_timeout=15s"
)
# A server whose machine is gone says nothing more: after so long a call of it fails.
POSTGRESQL_LINE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
BUSY_TIMEOUT_SECONDS = 15
POOL_SIZE = 10  # connections that are kept; opening one costs more than most of what it is asked

# More would only wait for each other: all of them compute between their statements.
N_THREADS = 4


class db_now(DatabaseClock):  # noqa: N801  reads as the SQL function it is
    """The database's time of day, so many seconds from now; leases have a clock of their own."""

    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: object) -> str:
    offset = compiler.process(element.clauses, **kw)
    # 2440587.5 is 1970-01-01T00:00Z as a Julian day.
    return f"(CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) + {offset})"


class Database:
    """Two kinds of transaction, each with an engine that begins it; they may be one.

    Attributes:
        n_threads: how many transactions of a kind at once are worth a thread each.
        committed: set after every write of this process; the relay waits for it.
    """

    def __init__(self, writing: Engine, reading: Engine, *, n_threads: int) -> None:
        self._writing = writing
        self._reading = reading
        self.n_threads = n_threads
        self.committed = threading.Event()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that commits at the end of the block and rolls back on any error.

        Raises:
            UnavailableError: the database does not answer, is damaged, or is locked for too long.
        """
        with _transaction(self._writing) as connection:
            yield connection
        self.committed.set()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent look; nothing is written.

        Raises:
            UnavailableError: the database does not answer.
        """
        with _transaction(self._reading) as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self._writing.dispose()
        self._reading.dispose()


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.begin() as connection:
            yield connection
    except PoolTimeoutError as error:
        raise UnavailableError.of_database() from error
    except DBAPIError as error:
        _raise_in_words(error, error.orig, is_away=is_away(error))
        raise


def _raise_in_words(error: Exception, of_driver: BaseException | None, *, is_away: bool) -> None:
    """Raise what an error of a database means to those who use it; return where it is ours.

    Raises:
        DamagedDatabaseError: its own bytes are damaged.
        UnavailableError: it cannot be used for a while.
    """
    if is_damage(of_driver):
        raise DamagedDatabaseError(str(of_driver)) from error
    if is_away:
        raise UnavailableError.of_database() from error


def clock(connection: Connection) -> datetime:
    """The time by the database, which all deadlines go by."""
    now: datetime = connection.execute(select(db_now())).scalar_one()
    return now


def settings_with_database_or_exit() -> Settings:
    """The settings of a process that uses the database; it ends in words where they are invalid."""
    settings = settings_or_exit()
    try:
        make_url(settings.sqlalchemy_url)
    except (ArgumentError, ValueError):
        # Neither the URL nor the error, which may quote a password.
        wanted = "wanted an SQLAlchemy URL: postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME"
        exit_over_settings(SettingsError(f"invalid settings: DDCAL_DATABASE_URL: {wanted}"))
    return settings


def run_by_hand(look: Callable[[Database, Settings], int]) -> int:
    """Run what somebody asks of the data that the settings name; its exit status.

    It is 1, with a message, where there is no data, or the database cannot be asked.
    """
    settings = settings_with_database_or_exit()
    if not settings.database_url and not settings.folder.exists():
        return complain(f"there is no data in {settings.folder}; elsewhere: --data-folder")
    database = open_database(settings)
    try:
        return look(database, settings)
    except UnavailableError as error:
        return complain(str(error))
    finally:
        database.close()


def open_database(settings: Settings) -> Database:
    """Connect lazily to the database the settings name."""
    url = make_url(settings.sqlalchemy_url)
    if url.get_backend_name() == "sqlite":
        settings.folder.mkdir(parents=True, exist_ok=True)
        reading = _sqlite_engine(url, "BEGIN", pool_size=POOL_SIZE)
        return Database(_sqlite_writing(url), reading, n_threads=1)
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        # A restarted server leaves dead connections in the pool: found before a statement fails.
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={**POSTGRESQL_LINE, "options": POSTGRESQL_OPTIONS},
    )
    return Database(engine, engine, n_threads=N_THREADS)


def migrate(settings: Settings) -> None:
    """Bring the schema to the newest revision; does nothing when it is there.

    Raises:
        UnavailableError: the database does not answer, is damaged, or takes no writes.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    try:
        command.upgrade(_alembic(settings.sqlalchemy_url), "head")
    except DBAPIError as error:
        _raise_in_words(error, error.orig, is_away=is_away(error))
        raise


def is_at_head(database: Database) -> bool:
    """Has every migration been applied?"""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest_revision()


def require_head(database: Database) -> None:
    """Nothing where every migration has been applied.

    Raises:
        UnavailableError: one has not.
    """
    if not is_at_head(database):
        raise UnavailableError("not_migrated", NOT_MIGRATED)


@cache
def newest_revision() -> str | None:
    """The last of the migrations that this program has; slow the first time."""
    return ScriptDirectory.from_config(_alembic("")).get_current_head()


def _alembic(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # Alembic keeps it in a ConfigParser, which reads a single % as an interpolation.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _sqlite_writing(url: URL) -> Engine:
    """One connection for all of a process's writers: they wait for it in a queue.

    SQLite lets one write at a time, and who waits for the file asks for it again and again.
    """
    one = {"pool_size": 1, "max_overflow": 0, "pool_timeout": BUSY_TIMEOUT_SECONDS}
    return _sqlite_engine(url, "BEGIN IMMEDIATE", **one)


def _sqlite_engine(url: URL, begin: str, **pool: int) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, **pool)

    def on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the begin hook below says BEGIN, not the driver
        # Readers go on while one writes.
        connection.execute("PRAGMA journal_mode=WAL")
        # Under WAL, NORMAL would not sync each commit: a power cut could undo an accepted job.
        connection.execute("PRAGMA synchronous=FULL")
        # Off in SQLite unless each connection asks; deleting a job relies on its cascades.
        connection.execute("PRAGMA foreign_keys=ON")
        provide_lease_clock(connection)

    def on_begin(connection: Connection) -> None:
        # Said to the driver itself: SQLAlchemy's way would cost more than all it does.
        driver: Any = connection.connection.driver_connection
        try:
            driver.execute(begin)
        except sqlite3.Error as error:
            _raise_in_words(error, error, is_away=is_away_by_driver(error))
            raise

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
