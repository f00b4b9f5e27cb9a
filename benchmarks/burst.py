"""A burst of jobs on PostgreSQL: how long until every idle worker is busy, beside an older commit.

    git worktree add ../before COMMIT
    python -m benchmarks.burst [--against ../before] [--workers 50] [--jobs 1000]

So many workers wait for the bell; jobs come one transaction each, from ten sides; ten reconcilers
look on; a relay rings for what has been committed. A job is a second of sleep. All are threads of
one process: what is measured is who is woken and what the database takes, not Python's start.
With --against the same is run by the code of that folder as well, one after the other.
"""

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import select

from app.shared.engine import runs
from app.shared.engine.jobs import insert_job
from app.shared.engine.queue import relay_rings
from app.shared.settings import Settings
from app.shared.store.database import Database, migrate, open_database
from app.shared.store.job_records import Ending, Job, NewJob
from app.shared.store.tables import attempts
from app.shared.upkeep.reconciler import reconcile
from tests.servers import fresh_postgres_database, running_postgres

OWNER, QUEUE, JOB_SECONDS, SIDES, RECONCILERS = "local", "gpu", 1.0, 10, 10
RELAY_PAUSE_SECONDS = 0.02


class Bell:
    """Wakes one idle worker a ring, as a broker would."""

    def __init__(self) -> None:
        self.rings: queue.Queue[str] = queue.Queue()
        self.n_rings = 0

    def ring(self, name: str) -> None:
        """Wake one."""
        self.n_rings += 1
        self.rings.put(name)


class Burst:
    """Workers that wait, and what they have done."""

    def __init__(self, database: Database, settings: Settings, n_workers: int) -> None:
        self.database, self.settings, self.bell = database, settings, Bell()
        self.over, self.all_busy = threading.Event(), threading.Event()
        self.busy_at: dict[int, float] = {}
        self.n_workers, self.lock = n_workers, threading.Lock()

    def work(self, number: int) -> None:
        """Wait for the bell, then run jobs until there is none left, as a supervisor does."""
        while not self.over.is_set():
            try:
                self.bell.rings.get(timeout=0.2)
            except queue.Empty:
                continue
            is_first = True
            while (run := self._claim(number, is_first=is_first)) is not None:
                is_first = False
                with self.lock:
                    self.busy_at.setdefault(number, time.perf_counter())
                    if len(self.busy_at) == self.n_workers:
                        self.all_busy.set()
                time.sleep(JOB_SECONDS)
                with self.database.write() as connection:
                    runs.succeed(connection, run, Ending())

    def _claim(self, number: int, *, is_first: bool) -> Job | None:
        with self.database.write() as connection:
            name = f"w{number}"
            run = runs.claim_next(connection, queue=QUEUE, worker=name, lease_seconds=60)
            ring_for_the_next = getattr(runs, "ring_for_the_next", None)
            if run is not None and is_first and ring_for_the_next is not None:
                ring_for_the_next(connection, run)
            return run

    def relay(self) -> None:
        """Ring for what has been committed."""
        while not self.over.is_set():
            n_rings = relay_rings(self.database, self.bell)
            time.sleep(RELAY_PAUSE_SECONDS * max(1, n_rings))

    def look(self) -> None:
        """Reconcile."""
        while not self.over.is_set():
            reconcile(self.database, self.settings)
            self.over.wait(self.settings.reconcile_seconds)


def measure(url: str, n_workers: int, n_jobs: int, folder: Path) -> str:
    """One burst; what came of it, in a line."""
    settings = Settings(data_folder=folder, database_url=url)
    migrate(settings)
    burst = Burst(open_database(settings), settings, n_workers)
    threads = [threading.Thread(target=burst.work, args=(k,)) for k in range(n_workers)]
    threads += [threading.Thread(target=burst.look) for _ in range(RECONCILERS)]
    threads.append(threading.Thread(target=burst.relay))
    for thread in threads:
        thread.start()

    def submit(_: int) -> None:
        with burst.database.write() as connection:
            new = NewJob(kind="distill", queue=QUEUE, params={"dataset": "digits"})
            insert_job(connection, OWNER, new)

    started = time.perf_counter()
    with ThreadPoolExecutor(SIDES) as sides:
        list(sides.map(submit, range(n_jobs)))
    submitted = time.perf_counter() - started
    burst.all_busy.wait(120)
    busy = sorted(at - started for at in burst.busy_at.values())
    burst.over.set()
    for thread in threads:
        thread.join()
    with burst.database.read() as connection:
        claimed = Counter(connection.execute(select(attempts.c.job_id)).scalars())
    twice = sum(n > 1 for n in claimed.values())
    burst.database.close()
    return (
        f"{len(busy):3} of {n_workers} busy, the last after {busy[-1]:6.2f} s; {n_jobs} jobs "
        f"submitted in {submitted:.1f} s; {burst.bell.n_rings} rings; {twice} claimed twice"
    )


def main() -> None:
    """Measure this code, and that of another folder beside it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=1_000)
    asked = parser.parse_args()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"load before: {load}", flush=True)
    if asked.against is not None:
        sizes = [f"--workers={asked.workers}", f"--jobs={asked.jobs}"]
        argv = [sys.executable, __file__, *sizes]
        environment = {**os.environ, "PYTHONPATH": str(asked.against.resolve())}
        print(f"{asked.against}:", flush=True)
        subprocess.run(argv, env=environment, cwd=asked.against, check=True)
    with tempfile.TemporaryDirectory() as folder, running_postgres() as postgres:  # noqa: SIM117
        with fresh_postgres_database(postgres, "burst") as url:
            print(measure(url, asked.workers, asked.jobs, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
