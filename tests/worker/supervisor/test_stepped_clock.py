"""Leases on SQLite while somebody puts the machine's clock forward or back by an hour."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import libfaketime
import pytest

from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.database import open_database
from app.shared.upkeep.reconciler import reconcile
from tests.waiting import until
from tests.worker.supervised import PROGRESS, SET_OUTPUT, Bench, held

ROOT = Path(__file__).parents[3]
HOUR = 3600
PATIENCE = 240.0  # on a busy machine a process takes a minute to start

# Tells each step of its clock as it sees it; its reconciler goes by that clock, too.
MACHINE = """
import sys, threading, time
from app.shared.settings import Settings
from app.shared.store.database import clock, open_database
from app.shared.upkeep.reconciler import reconcile
from tests.worker.supervised import Bench
from worker.supervisor import programs
programs.PASSED_ON += ("FAKETIME",)  # or the library is loaded in trainers, and told nothing
settings = Settings()
made = Bench(open_database(settings), settings, sys.argv[1:])
def look():
    told = 0
    while True:
        with made.database.read() as connection:
            now = clock(connection).timestamp()
        reconcile(made.database, settings)
        if abs(now - told) > 1000:
            print(now, flush=True)
            told = now
        time.sleep(0.05)
if not sys.argv[1:]:
    look()
threading.Thread(target=look, daemon=True).start()
supervisor = made.supervisor()
assert supervisor.work() == 1
supervisor.close()
"""


@pytest.fixture
def made(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Bench]:
    """A database on this machine, whose clock is right."""
    path = tmp_path / "ddcal.sqlite"
    path.write_bytes(migrated_sqlite.read_bytes())
    settings = Settings(data_folder=tmp_path, database_url=f"sqlite:///{path}")
    bench = Bench(open_database(settings), settings, [])
    yield bench
    bench.database.close()


class SteppedMachine:
    """A process whose clock can be put forward or back; SQLite's is that of its process."""

    def __init__(self, bench: Bench, *moods: str) -> None:
        library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
        self._step = bench.settings.folder / "step"
        self._step.write_text("+0")
        self.process = subprocess.Popen(
            [sys.executable, "-c", MACHINE, *moods],
            cwd=ROOT,
            env={
                **os.environ,
                "DDCAL_DATA_FOLDER": str(bench.settings.folder),
                "DDCAL_DATABASE_URL": bench.settings.database_url,
                "DDCAL_LEASE_SECONDS": "300",
                # Its reconciler looks before its supervisor beats again.
                "DDCAL_HEARTBEAT_SECONDS": "5",
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self._step),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert abs(self.seen()) < HOUR / 10

    def seen(self) -> float:
        """By how much its clock is ahead, once it has seen the next step."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline()) - time.time()

    def step(self, seconds: int) -> None:
        """Put its clock forward, or back; returns once its reconciler has gone by it."""
        self._step.write_text(f"{seconds:+d}")
        assert abs(self.seen() - seconds) < HOUR / 10

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@pytest.mark.long
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_clock_that_steps_costs_no_attempt(made: Bench, seconds: int) -> None:
    """Worker and reconciler go on as if nothing were, beside one whose clock has not stepped."""
    job = made.submit()
    with contextlib.closing(SteppedMachine(made, PROGRESS + held() + SET_OUTPUT)) as machine:
        until(lambda: made.job(job.id).progress is not None, seconds=PATIENCE)
        machine.step(seconds)
        before = made.lease_end()
        until(lambda: made.lease_end() > before + 500, seconds=PATIENCE)
        reconcile(made.database, made.settings)
        made.let_go()
        assert machine.process.wait(PATIENCE) == 0

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["succeeded"]


@pytest.mark.long
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_lost_run_is_found_though_the_clock_has_stepped(made: Bench, seconds: int) -> None:
    """A lease is as long as it was meant to be, whatever the time of day says."""
    job = made.submit()
    with contextlib.closing(SteppedMachine(made)) as machine:
        with made.database.write() as connection:
            run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=300)
        assert run is not None
        machine.step(seconds)
        assert made.job(job.id).state == "running"
        with made.database.write() as connection:
            runs.beat(connection, run, lease_seconds=0.5)
        until(lambda: made.job(job.id).state == "queued", seconds=PATIENCE)

    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["lost"]
