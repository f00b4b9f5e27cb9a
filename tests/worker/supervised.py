"""A supervisor on a database of its own, with child processes that play a trainer in every mood."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from app.shared.engine import jobs
from app.shared.engine.events import Event, list_events
from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.store.job_queries import attempts_of, find_job
from app.shared.store.job_records import Job, NewJob
from tests.waiting import until
from worker.supervisor.supervisor import Supervisor, WorkerProcess
from worker.supervisor.trainer_process import TrainerProcess, start_child

OWNER = "local"

# Each mood is a program that reads its job line and answers as a trainer would.
PRELUDE = """
import json, os, pathlib, signal, sys, time
def say(**message):
    sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
say(type="ready")
job = json.loads(sys.stdin.readline() or "{}")
folder = pathlib.Path(job.get("work_folder", "/nonexistent"))
"""
SET_OUTPUT = """
(folder / "manifest.json").write_text("{}")
say(type="outputs", outputs=[{"resource": "distilled_set", "values": {"dataset": "digits",
    "method": "dm", "images_per_class": 1}, "files": [{"name": "manifest.json",
    "path": str(folder / "manifest.json"), "media_type": "application/json"}]}])
"""
PROGRESS = 'say(type="progress", phase="distill", step=1, steps=4, values={"loss": 0.5})\n'
OBEDIENT = """
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
say(type="progress", phase="distill", step=0, steps=4, values={})
while not asked:
    time.sleep(0.01)
say(type="stopped")
"""
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(type="progress", phase="distill", step=0, steps=4, values={})
time.sleep(3600)
"""
DEAD = "os.kill(os.getpid(), signal.SIGKILL)\n"
BROKEN = 'say(type="failed", error={"type": "nan_loss", "message": "the loss became nan"})\n'


def held(name: str = "go") -> str:
    """A mood that waits until the bench lets it go."""
    return f'while not (folder.parents[1] / "{name}").exists(): time.sleep(0.01)\n'


@dataclass
class AdvancedClock:
    """The monotonic clock, ahead by as many seconds as a test likes to have passed."""

    ahead: float = 0.0
    n_asked: int = 0

    def __call__(self) -> float:
        """Seconds."""
        self.n_asked += 1
        return time.monotonic() + self.ahead

    def is_followed(self) -> Callable[[], bool]:
        """From now on, has it been asked as often as a supervisor only does beside a trainer?

        Whatever begins with a run, and is timed from there, has begun by then.
        """
        enough = self.n_asked + 30
        return lambda: self.n_asked > enough


@dataclass
class Bench:
    """A database with a supervisor whose trainers have the moods given, one after another."""

    database: Database
    settings: Settings
    moods: list[str]
    started: list[TrainerProcess] = field(default_factory=list)
    is_draining: bool = False
    prelude: str = PRELUDE

    def supervisor(
        self,
        queue: str = "gpu",
        *,
        clock: Callable[[], float] = time.monotonic,
        give_sign: Callable[[], None] = lambda: None,
    ) -> Supervisor:
        """A supervisor; the last mood is that of all later trainers."""
        return Supervisor(
            self.database,
            self.settings,
            queue=queue,
            worker=WorkerProcess(
                name="w", is_draining=lambda: self.is_draining, give_sign=give_sign
            ),
            new_trainer=self._start,
            clock=clock,
        )

    def _start(self, _queue: str) -> TrainerProcess:
        mood = self.moods[min(len(self.started), len(self.moods) - 1)]
        self.started.append(start_child([sys.executable, "-c", self.prelude + mood]))
        return self.started[-1]

    def let_go(self, name: str = "go") -> None:
        """Let trainers go on that are held by this name."""
        (self.settings.folder / name).touch()

    def submit(self, **values: Any) -> Job:
        """Write a job and commit."""
        new = {"kind": "distill", "params": {"dataset": "digits"}, "queue": "gpu", **values}
        with self.database.write() as connection:
            return jobs.insert_job(connection, OWNER, NewJob(**new))

    def job(self, job_id: str) -> Job:
        """The job as it stands."""
        with self.database.read() as connection:
            return find_job(connection, OWNER, job_id)

    def outcomes(self, job_id: str) -> list[tuple[str | None, str | None]]:
        """Outcome and exit reason of each attempt."""
        with self.database.read() as connection:
            attempts = attempts_of(connection, OWNER, job_id)
        return [(attempt.outcome, attempt.exit_reason) for attempt in attempts]

    def lease_end(self) -> int:
        """When the lease of the one job ends, by the clock of leases, in ms; 0 without one."""
        with self.database.read() as connection:
            ends = connection.execute(text("SELECT lease_until_at FROM jobs")).scalar_one()
        return int(ends or 0)

    def events(self, job_id: str, event_type: str) -> list[Event]:
        """The job's events of a type."""
        with self.database.read() as connection:
            events = list_events(connection, OWNER, job_id, limit=1000)
        return [event for event in events if event.type == event_type]


def wait_for_progress(bench: Bench, job_id: str, *, step: int | None = None) -> None:
    """Return once the trainer is known to be at work, or at this step."""

    def is_there() -> bool:
        progress = bench.job(job_id).progress
        return progress is not None and step in (None, progress["step"])

    until(is_there)


def in_background(supervisor: Supervisor) -> threading.Thread:
    """Let a supervisor work while the test does something to it."""
    thread = threading.Thread(target=supervisor.work)
    thread.start()
    return thread
