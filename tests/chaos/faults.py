"""What can go wrong on one machine: each fault by name, done to a running topology.

A fault that lasts returns what ends it and after how many seconds; the driver calls that.
"""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable
from typing import NamedTuple

import psutil
import redis
from sqlalchemy import text

from app.shared.engine.queue import CeleryDoorbell
from app.shared.errors import UnavailableError
from app.shared.store.kinds import GPU_QUEUE
from tests.chaos.topology import Part, Topology, is_trainer


class Later(NamedTuple):
    """What ends a fault, and when."""

    seconds: float
    end: Callable[[], None]


Fault = Callable[[Topology, random.Random], Later | None]


def kill_worker(topology: Topology, draw: random.Random) -> Later | None:
    """A kill -9 of a worker's parent: its pool child and trainers have to die with it."""
    worker = draw.choice(topology.workers())
    return _kill(topology, worker.process.pid)


def kill_supervisor(topology: Topology, draw: random.Random) -> Later | None:
    """A kill -9 of a pool child: its trainers have to die with it."""
    child = topology.supervisor_of(_busy(topology, draw))
    return None if child is None else _kill(topology, child.pid)


def kill_trainer(topology: Topology, draw: random.Random) -> Later | None:
    """A kill -9 of a trainer, at work or waiting."""
    trainers = topology.trainers_of(_busy(topology, draw))
    return _kill(topology, draw.choice(trainers).pid) if trainers else None


def kill_api(topology: Topology, draw: random.Random) -> Later | None:
    """A kill -9 of the API, whatever it is answering."""
    return _kill(topology, topology.parts["api"].process.pid)


def freeze_supervisor(topology: Topology, draw: random.Random) -> Later | None:
    """A pool child stops for longer than a lease; its trainer works on."""
    child = topology.supervisor_of(_busy(topology, draw))
    return None if child is None else _freeze(topology, [child.pid], draw)


def freeze_worker(topology: Topology, draw: random.Random) -> Later | None:
    """A whole worker stops for longer than a lease, trainers and all, as a paused machine does."""
    worker = _busy(topology, draw)
    pids = [worker.process.pid]
    with contextlib.suppress(psutil.Error):
        pids += [one.pid for one in psutil.Process(pids[0]).children(recursive=True)]
    return _freeze(topology, pids, draw)


def freeze_trainer(topology: Topology, draw: random.Random) -> Later | None:
    """A trainer stops, at work or waiting; its supervisor beats on."""
    trainers = topology.trainers_of(_busy(topology, draw))
    return _freeze(topology, [draw.choice(trainers).pid], draw) if trainers else None


def freeze_api(topology: Topology, draw: random.Random) -> Later | None:
    """The API answers nobody for seconds, whatever it is writing."""
    return _freeze(topology, [topology.parts["api"].process.pid], draw)


def restart_broker_empty(topology: Topology, draw: random.Random) -> Later | None:
    """A kill -9 of the broker, which comes back without its queues."""
    part = topology.parts.pop("broker")
    os.killpg(part.process.pid, signal.SIGKILL)
    part.process.wait()
    return Later(draw.uniform(0.1, 2), topology.start_broker)


def flush_broker(topology: Topology, draw: random.Random) -> Later | None:
    """FLUSHALL: all messages and bindings are gone."""
    return _tell_broker(topology, "FLUSHALL")


def cut_broker_clients(topology: Topology, draw: random.Random) -> Later | None:
    """CLIENT KILL: every connection to the broker is reset."""
    return _tell_broker(topology, "CLIENT KILL TYPE normal")


def hang_broker(topology: Topology, draw: random.Random) -> Later | None:
    """The broker answers nobody for seconds."""
    return _freeze(topology, [topology.parts["broker"].process.pid], draw)


def ring_too_often(topology: Topology, draw: random.Random) -> Later | None:
    """A dozen messages that nothing stands behind."""

    def ring() -> None:
        with contextlib.suppress(OSError, redis.RedisError, Exception):
            for _ in range(12):
                CeleryDoorbell(topology.settings).ring(GPU_QUEUE)

    threading.Thread(target=ring, daemon=True).start()
    return None


def restart_database(topology: Topology, draw: random.Random) -> Later | None:
    """PostgreSQL stops, cleanly or as after a crash, and comes back in a second or two."""
    if topology.postgres is None:
        return lock_database(topology, draw)
    topology.postgres.stop(draw.choice((signal.SIGINT, signal.SIGQUIT)))
    return Later(draw.uniform(0.1, 2), topology.postgres.start)


def lock_database(topology: Topology, draw: random.Random) -> Later | None:
    """Somebody holds every row of jobs for two seconds."""
    held = threading.Event()

    def hold() -> None:
        with contextlib.suppress(UnavailableError), topology.database.write() as connection:
            if topology.postgres is not None:
                connection.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
            held.wait(20)

    threading.Thread(target=hold, daemon=True).start()
    return Later(2, held.set)


def drain_worker(topology: Topology, draw: random.Random) -> Later | None:
    """SIGTERM, as for a new version; it hands its job back and is started again."""
    os.kill(draw.choice(topology.workers()).process.pid, signal.SIGTERM)
    return None


FAULTS: dict[str, tuple[Fault, int]] = {
    "kill worker": (kill_worker, 2),
    "kill supervisor": (kill_supervisor, 3),
    "kill trainer": (kill_trainer, 3),
    "kill API": (kill_api, 2),
    "freeze supervisor": (freeze_supervisor, 5),
    "freeze worker": (freeze_worker, 2),
    "freeze trainer": (freeze_trainer, 2),
    "freeze API": (freeze_api, 1),
    "broker killed, empty": (restart_broker_empty, 2),
    "broker flushed": (flush_broker, 2),
    "broker clients cut": (cut_broker_clients, 2),
    "broker hung": (hang_broker, 1),
    "rings too many": (ring_too_often, 2),
    "database restarted": (restart_database, 1),
    "database locked": (lock_database, 1),
    "worker drained": (drain_worker, 2),
}
"""By name: what to do, and its weight among the others."""


def thaw(topology: Topology, pids: list[int]) -> None:
    """Let stopped processes go on."""
    for pid in pids:
        topology.frozen.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _busy(topology: Topology, draw: random.Random) -> Part:
    """A worker, one with a job if there is one."""
    query = "SELECT lease_owner FROM jobs WHERE lease_owner IS NOT NULL"
    names: list[str] = []
    with contextlib.suppress(UnavailableError), topology.database.read() as connection:
        names = list(connection.execute(text(query)).scalars())
    busy = [worker for worker in topology.workers() if name_of(worker, topology) in names]
    return draw.choice(busy or topology.workers())


def name_of(worker: Part, topology: Topology) -> str | None:
    """The name that a worker's pool child claims under."""
    child = topology.supervisor_of(worker)
    with contextlib.suppress(psutil.Error):
        if child is not None:
            given = child.environ()
            return f"gpu-{given['WORKER_NAME']}@{os.uname().nodename}"
    return None


def _kill(topology: Topology, pid: int) -> Later:
    """A kill -9; a second later nothing of what was below may be alive."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

    def look() -> None:
        topology.survivors += [one.pid for one in below if one.is_running() and is_trainer(one)]

    return Later(1.5, look)


def _freeze(topology: Topology, pids: list[int], draw: random.Random) -> Later:
    lease = topology.settings.lease_seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            topology.frozen.add(pid)
    return Later(draw.uniform(1.3, 2) * lease, lambda: thaw(topology, pids))


def _tell_broker(topology: Topology, words: str) -> None:
    with contextlib.suppress(redis.RedisError), contextlib.closing(topology.broker()) as client:
        client.execute_command(*words.split())
