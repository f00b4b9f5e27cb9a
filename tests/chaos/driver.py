"""One chaos run: a service of many processes, clients, faults by seed; then quiet and the proof."""

import contextlib
import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from sqlalchemy import text

from app.shared.errors import UnavailableError
from app.shared.upkeep.housekeeping import keep_house
from tests.chaos.clients import Client, Memory
from tests.chaos.faults import FAULTS, thaw
from tests.chaos.invariants import broken, broken_files, see_leases
from tests.chaos.safeguards import FENCE
from tests.chaos.topology import Topology, running_topology
from tests.chaos.zombie import NO_CHECKPOINT, bring_back_a_zombie

LOOK_SECONDS = 0.2
QUIET_SECONDS = 600.0
"""Within so long after the last fault every job has to have ended."""
START_SECONDS = 180.0
DRAIN_SECONDS = 60.0
LEFT_SECONDS = 5.0
ENDED = "('succeeded', 'failed', 'cancelled', 'expired')"


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        violations: the rows that break an invariant, by its name.
        jobs: counts by state.
        attempts: counts by outcome.
        faults: counts by name.
        clients: counts of what clients did and were told.
        quiet_seconds: from the last fault to the end of the last job.
    """

    violations: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    clients: dict[str, int] = field(default_factory=dict)
    quiet_seconds: float = 0.0


class Driver:
    """What happens at which time, all in the main thread, with which its processes die."""

    def __init__(self, topology: Topology, draw: random.Random) -> None:
        self._topology = topology
        self._draw = draw
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.faults: Counter[str] = Counter()

    def run_for(self, seconds: float) -> None:
        """Look after everything, with a fault now and then."""
        end = time.monotonic() + seconds
        next_fault = time.monotonic() + 1
        while time.monotonic() < end:
            if time.monotonic() >= next_fault:
                self._do_a_fault()
                next_fault = time.monotonic() + self._draw.uniform(0.4, 2)
            self.look()

    def look(self) -> None:
        """Do what is due, bring back what has died, see who holds which lease."""
        while self._agenda and self._agenda[0][0] <= time.monotonic():
            heapq.heappop(self._agenda)[2]()
        self._topology.look_after()
        with contextlib.suppress(UnavailableError), self._topology.database.write() as connection:
            see_leases(connection)
        time.sleep(LOOK_SECONDS)

    def calm(self) -> None:
        """End whatever lasts."""
        while self._agenda:
            heapq.heappop(self._agenda)[2]()
        thaw(self._topology, list(self._topology.frozen))

    def do(self, name: str) -> None:
        """Do one fault."""
        later = FAULTS[name][0](self._topology, self._draw)
        self.faults[name] += 1
        if later is not None:
            when = time.monotonic() + later.seconds
            heapq.heappush(self._agenda, (when, next(self._numbers), later.end))

    def _do_a_fault(self) -> None:
        """One that the state of things allows: there is a broker, and a worker left to work."""
        weights = {name: weight for name, (_, weight) in FAULTS.items()}
        if "broker" not in self._topology.parts or self._topology.frozen:
            for name in [name for name in weights if name.startswith("broker")]:
                del weights[name]
        if len(self._topology.frozen) > 1:
            weights = {name: w for name, w in weights.items() if not name.startswith("freeze")}
        self.do(self._draw.choices(list(weights), list(weights.values()))[0])


def run(
    folder: Path, database: str, *, seed: int, seconds: float, without: str | None = None
) -> Outcome:
    """One run from start to proof; its service is gone at the end.

    Args:
        folder: an empty one, for everything.
        database: sqlite or postgresql.
        seed: of the faults and of what clients do.
        seconds: with faults; those until all is ready and until all is quiet come on top.
        without: the safeguard that the workers are to lack, if any. Without the fence the run
            begins with a zombie: faults drawn by chance may make none that does harm.
    """
    memory = Memory()
    options = NO_CHECKPOINT if without == FENCE else {}
    with running_topology(folder, database, without=without, **options) as topology:
        driver = Driver(topology, random.Random(f"{seed}"))
        await_ready(topology)
        if without == FENCE:
            bring_back_a_zombie(topology, driver.look)
        clients = [Client(topology, memory, f"{seed} {number}") for number in range(2)]
        for client in clients:
            client.start()
        driver.run_for(seconds)
        driver.calm()
        for client in clients:
            client.stop()
        outcome = Outcome(faults=driver.faults, clients=dict(memory.counts))
        outcome.quiet_seconds = await_quiet(topology, driver, clients)
        conclude(topology, memory, outcome)
    return outcome


def await_ready(topology: Topology) -> None:
    """Return once every worker has a trainer waiting and the API, if there is one, answers."""
    deadline = time.monotonic() + START_SECONDS
    for part in topology.workers():
        while "ready." not in part.log_path.read_text() or not topology.trainers_of(part):
            assert time.monotonic() < deadline, part.log_path.read_text()
            time.sleep(0.1)
    while "api" in topology.parts:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{topology.url}/readyz", trust_env=False).is_success:
                return
        assert time.monotonic() < deadline, "the API was not ready in time"
        time.sleep(0.1)


def await_quiet(topology: Topology, driver: Driver, clients: Sequence[Client] = ()) -> float:
    """Wait until clients are done, every job has ended and every ring is passed on."""
    begun = time.monotonic()
    query = f"SELECT COUNT(*) FROM jobs WHERE state NOT IN {ENDED}"
    while time.monotonic() - begun < QUIET_SECONDS:
        driver.look()
        with topology.database.read() as connection:
            n_left = connection.execute(text(query)).scalar_one()
            n_left += connection.execute(text("SELECT COUNT(*) FROM outbox")).scalar_one()
        if n_left == 0 and not any(client.is_alive() for client in clients):
            break
    return time.monotonic() - begun


def conclude(topology: Topology, memory: Memory, outcome: Outcome) -> None:
    """Stop everything as a deploy does, and look at what is left."""
    # The broker last: a worker says goodbye to it.
    names = sorted(topology.parts, key=lambda name: name == "broker")
    stuck = [name for name in names if not topology.stop(name, seconds=DRAIN_SECONDS)]
    with topology.database.write() as connection:
        for number, job_id in memory.accepted.items():
            row = {"number": number, "job_id": job_id}
            connection.execute(
                text("INSERT INTO chaos_submissions (number, job_id) VALUES (:number, :job_id)"),
                row,
            )
        for job_id in memory.cancelled:
            connection.execute(
                text("INSERT INTO chaos_cancels (job_id) VALUES (:job_id)"), {"job_id": job_id}
            )
    # As the service does by itself every hour, an hour later: what killed runs have left is old.
    later = topology.settings.model_copy(update={"leftover_seconds": 0})
    keep_house(topology.database, later)
    with topology.database.read() as connection:
        outcome.violations = broken(connection) | broken_files(connection, topology.settings)
        outcome.jobs = _counts(connection, "SELECT state, COUNT(*) FROM jobs GROUP BY state")
        outcome.attempts = _counts(
            connection, "SELECT outcome, COUNT(*) FROM attempts GROUP BY outcome"
        )
    if stuck:
        outcome.violations["whoever is asked to end does"] = stuck
    if topology.survivors:
        outcome.violations["a trainer dies with its supervisor"] = [
            str(pid) for pid in topology.survivors
        ]
    if left := _left_running(topology):
        outcome.violations["no process is left"] = left


def _left_running(topology: Topology) -> list[str]:
    """The processes that have not ended a few seconds after all were asked to."""
    deadline = time.monotonic() + LEFT_SECONDS
    while topology.pids() and time.monotonic() < deadline:
        time.sleep(0.1)
    found = []
    for pid in topology.pids():
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(psutil.Process(pid).cmdline()))
    return found


def _counts(connection, query: str) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in connection.execute(text(query))}
