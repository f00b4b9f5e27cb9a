"""A supervisor that is frozen at work, and goes on when its successor is at work too."""

import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from app.shared.engine.jobs import insert_job
from app.shared.store.job_records import NewJob
from tests.chaos.clients import FIRST_NUMBER, TINY
from tests.chaos.faults import name_of
from tests.chaos.topology import Topology
from tests.waiting import until

NO_CHECKPOINT: dict[str, float] = {"checkpoint_seconds": 1000.0}
"""Settings of a run with a zombie: its successor begins anew, and is behind when it comes back."""

N_STEPS = 60


def submit(topology: Topology, *, n_steps: int, seed: int = 0) -> None:
    """Write a distillation that takes so many tenths of a second."""
    distill = {**TINY, "iterations": n_steps, "method": "dm"}
    new = NewJob(
        kind="distill",
        params={"dataset": "digits", "seed": seed, "distill": distill},
        queue="gpu",
        timeout_seconds=FIRST_NUMBER + seed,
        max_attempts=topology.settings.max_attempts,
    )
    with topology.database.write() as connection:
        insert_job(connection, "local", new)


def bring_back_a_zombie(topology: Topology, look: Callable[[], None]) -> None:
    """Freeze the supervisor of a job of our own; set it going again when its successor works.

    Args:
        topology: of two workers at least, with `NO_CHECKPOINT` and nothing else to do.
        look: called while it waits; looks after the topology.
    """

    def run_after(fence: int) -> Any:
        """The run at work, if it is a later one."""
        query = "SELECT fence, lease_owner FROM jobs WHERE state = 'running' AND fence > :fence"
        look()
        with topology.database.read() as connection:
            return connection.execute(
                text(f"{query} AND progress IS NOT NULL"), {"fence": fence}
            ).one_or_none()

    def await_run_after(fence: int) -> Any:
        found: list[Any] = []
        until(lambda: found.append(run_after(fence)) or found[-1], seconds=120)
        return found[-1]

    submit(topology, n_steps=N_STEPS)
    first = await_run_after(0)
    (zombie,) = [
        topology.supervisor_of(worker)
        for worker in topology.workers()
        if name_of(worker, topology) == first.lease_owner
    ]
    # On SQLite who is frozen within a write stops everybody: nobody writes while we do.
    with topology.database.write():
        zombie.send_signal(signal.SIGSTOP)
    await_run_after(first.fence)
    zombie.send_signal(signal.SIGCONT)
