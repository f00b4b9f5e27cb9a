"""The service as many processes on one machine, each of which can be hurt and is brought back."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
from sqlalchemy import text

from app.embedded.broker import await_broker, broker_argv, broker_url, socket_path
from app.embedded.children import spawn, wait_or_kill
from app.embedded.parts import worker_argv
from app.shared.settings import Settings
from app.shared.store.database import Database, migrate, open_database
from tests.chaos.invariants import TABLES
from tests.chaos.safeguards import RUN_VARIABLE, WITHOUT_VARIABLE
from tests.servers import PostgresServer, fresh_postgres_database, postgres_server

ROOT = Path(__file__).resolve().parents[2]

QUICK = {
    "lease_seconds": 3.0,
    "heartbeat_seconds": 0.5,
    "retry_seconds": 0.0,
    "ring_again_seconds": 1.0,
    "reconcile_seconds": 0.3,
    "stop_grace_seconds": 2.0,
    "checkpoint_seconds": 0.5,
    "max_attempts": 40,
    "trainer_threads": 1,
}
"""Settings under which a fault and its recovery take seconds."""


@dataclass
class Part:
    """One program that is brought back when it dies.

    Attributes:
        n_starts: how often it has been started.
    """

    name: str
    argv: list[str]
    log_path: Path
    process: subprocess.Popen[bytes]
    pass_fds: tuple[int, ...] = ()
    n_starts: int = 1


@dataclass
class Topology:
    """Broker, database, API and workers of one run.

    Attributes:
        settings: of all parts.
        database: the driver's own way into it.
        postgres: the server, where it is not SQLite.
        frozen: pids that have been stopped and not yet set going again.
        survivors: pids of trainers that have outlived their supervisors.
    """

    settings: Settings
    database: Database
    environment: dict[str, str]
    broker_folder: Path
    broker_path: Path
    port: int
    postgres: PostgresServer | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)
    survivors: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str, argv: list[str], *, pass_fds: tuple[int, ...] = ()) -> None:
        """Start a part."""
        log_path = self.settings.folder / "parts" / f"{name}.log"
        part = Part(name, argv, log_path, self._spawn(argv, log_path, pass_fds), pass_fds)
        self.parts[name] = part

    def look_after(self) -> None:
        """Start again what has died, as `ddcal serve` or a container's restart policy does."""
        for part in self.parts.values():
            if part.process.poll() is not None:
                wait_or_kill(part.process, deadline=time.monotonic())
                part.process = self._spawn(part.argv, part.log_path, part.pass_fds)
                part.n_starts += 1

    def stop(self, name: str, *, seconds: float) -> bool:
        """Ask a part to end; tells whether it has by itself, or had to be killed."""
        part = self.parts.pop(name)
        part.process.send_signal(signal.SIGTERM)
        try:
            part.process.wait(seconds)
        except subprocess.TimeoutExpired:
            wait_or_kill(part.process, deadline=time.monotonic())
            return False
        return True

    def workers(self) -> list[Part]:
        """The workers among the parts."""
        return [part for name, part in self.parts.items() if name.startswith("worker")]

    def supervisor_of(self, worker: Part) -> psutil.Process | None:
        """The pool child of a worker, which runs the jobs; None while there is none."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(worker.process.pid).children():
                if any(
                    "spawn_main" in word or "--billiard-fork" in word for word in child.cmdline()
                ):
                    return child
        return None

    def trainers_of(self, worker: Part) -> list[psutil.Process]:
        """The trainers of a worker: one at work, if there is work, and one that waits."""
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(worker.process.pid).children(recursive=True)
            return [one for one in below if is_trainer(one)]
        return []

    def broker(self) -> redis.Redis:
        """A client of the broker that does not wait for it."""
        return redis.Redis(unix_socket_path=str(self.broker_path), socket_timeout=1, retry=None)

    def start_broker(self) -> None:
        """Start an empty broker."""
        shutil.rmtree(self.broker_folder / "appendonlydir", ignore_errors=True)
        argv = [str(word) for word in broker_argv(self.broker_folder, self.broker_path)]
        self.start("broker", argv)
        await_broker(self.parts["broker"].process, self.broker_path)

    def pids(self) -> list[int]:
        """All processes of this run, on the whole machine, but for the driver."""
        mark = f"{RUN_VARIABLE}={self.environment[RUN_VARIABLE]}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return [pid for pid in found if pid != os.getpid()]

    def _spawn(
        self, argv: list[str], log_path: Path, pass_fds: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        return spawn(
            argv,
            log_path=log_path,
            environment=self.environment,
            folder=ROOT,
            pass_fds=pass_fds,
            death_signal=signal.SIGKILL,
        )


def is_trainer(process: psutil.Process) -> bool:
    """Is this a stand-in trainer?"""
    with contextlib.suppress(psutil.Error):
        return any(word.endswith("tests/chaos/trainer.py") for word in process.cmdline())
    return False


def worker_command(settings: Settings) -> list[str]:
    """`ddcal worker`, with the stand-in trainers."""
    return [
        "tests.chaos.worker_program" if word == "worker.supervisor" else word
        for word in worker_argv("gpu", settings)
    ]


@contextlib.contextmanager
def running_topology(
    folder: Path,
    database: str,
    *,
    without: str | None = None,
    n_workers: int = 3,
    has_api: bool = True,
    front: Callable[[Path], Path] = Path,
    **settings: float,
) -> Iterator[Topology]:
    """Start it all on a fresh database; whatever is left at the end is killed.

    Args:
        folder: an empty one, for everything.
        database: sqlite or postgresql.
        without: the safeguard that the workers are to lack, if any.
        n_workers: how many workers, each with a reconciler of its own, beside the API's.
        has_api: whether to start the API.
        front: gives the socket at which the parts reach the broker, from the broker's own.
        settings: other than the quick ones.
    """
    with contextlib.ExitStack() as stack:
        postgres = None
        url = f"sqlite:///{folder / 'ddcal.sqlite'}"
        if database == "postgresql":
            postgres = stack.enter_context(postgres_server())
            url = stack.enter_context(fresh_postgres_database(postgres.folder, "chaos"))
        broker_folder = folder / "redis"
        broker_folder.mkdir(parents=True)
        path = stack.enter_context(socket_path(broker_folder))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        places = {"data_folder": folder / "data", "database_url": url, "no_key": True}
        chosen = Settings(**places, redis_url=broker_url(front(path)), **{**QUICK, **settings})
        migrate(chosen)
        made = Topology(
            chosen,
            open_database(chosen),
            _environment(chosen, without),
            broker_folder,
            path,
            listener.getsockname()[1],
            postgres,
        )
        stack.callback(made.database.close)
        stack.callback(_kill, made)
        made.start_broker()
        if has_api:
            fd = listener.fileno()
            api = [sys.executable, "-m", "app.server", "api", "--fd", str(fd)]
            made.start("api", api, pass_fds=(fd,))
        for number in range(n_workers):
            made.start(f"worker-{number}", worker_command(chosen))
        with made.database.write() as connection:
            for table in TABLES:
                connection.execute(text(table))
        yield made


def _environment(settings: Settings, without: str | None) -> dict[str, str]:
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),  # where the workers find tests.chaos
        **{f"DDCAL_{name.upper()}": str(value) for name, value in given.items()},
        RUN_VARIABLE: f"{os.getpid()}-{time.time_ns()}",
        "PYTHONUNBUFFERED": "1",
    }
    return environment if without is None else {**environment, WITHOUT_VARIABLE: without}


def _kill(made: Topology) -> None:
    for pid in made.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for part in made.parts.values():
        wait_or_kill(part.process, deadline=time.monotonic())
