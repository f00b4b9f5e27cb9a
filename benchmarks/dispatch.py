"""How long from a committed job to its computation, beside a bare Celery task in the same run.

    python -m benchmarks.dispatch [--jobs 10]

Prints medians, and the ratio of ddcal's dispatch (commit to claim: outbox, relay, message, claim)
to a bare Celery task's (send to start), taken in turn on one broker.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from celery import Celery

from app.embedded.broker import running_broker
from app.embedded.parts import worker_argv
from app.shared.engine import jobs
from app.shared.engine.queue import CeleryDoorbell
from app.shared.settings import Settings
from app.shared.store.database import Database, migrate, open_database
from app.shared.store.job_queries import attempts_of, find_job
from app.shared.store.job_records import Job, NewJob
from app.shared.store.kinds import GPU_QUEUE
from app.shared.upkeep.reconciler import start_background

OWNER = "local"
TINY = {
    "dataset": "digits",
    "distill": {"images_per_class": 1, "iterations": 1, "width": 4, "depth": 1, "batch_real": 4},
}
QUIET_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
BARE_QUEUE = "bare"


@dataclass(frozen=True)
class Latency:
    """Seconds from the commit of one job.

    Attributes:
        claim: until a worker had it, by the database's clock.
        compute: until its trainer logged its start, to the millisecond of that log.
    """

    claim: float
    compute: float


def main(arguments: Sequence[str]) -> None:
    """Measure in turn, print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10)
    n_jobs = parser.parse_args(arguments).jobs
    with tempfile.TemporaryDirectory(prefix="dispatch-") as folder:
        bare, own = measure(Path(folder), n_jobs)
    claim = statistics.median(one.claim for one in own)
    compute = statistics.median(one.compute for one in own)
    floor = statistics.median(bare)
    print(f"{n_jobs} jobs and as many bare tasks, in turn, one worker each, medians")
    print(f"bare Celery task, send to start      {floor * 1000:8.1f} ms")
    print(f"ddcal job, commit to claim           {claim * 1000:8.1f} ms   {claim / floor:.1f}x")
    print(f"ddcal job, commit to compute start   {compute * 1000:8.1f} ms   {compute / floor:.1f}x")


def measure(folder: Path, n_jobs: int) -> tuple[list[float], list[Latency]]:
    """Latencies of bare tasks and of jobs, taken one after the other."""
    with running_broker(folder) as broker_url:
        settings = Settings(data_folder=folder / "data", redis_url=broker_url)
        migrate(settings)
        database = open_database(settings)
        background = start_background(database, settings, CeleryDoorbell(settings))
        sender = Celery(broker=broker_url)
        with _worker(worker_argv(GPU_QUEUE), settings), _worker(_bare_argv(), settings):
            try:
                bare, own = [], []
                for number in range(n_jobs + 1):
                    await_warm_trainer()
                    bare.append(_bare_latency(sender, folder, number))
                    own.append(_job_latency(database, settings))
            finally:
                background.stop()
                database.close()
    return bare[1:], own[1:]  # the first of each warms the workers up


def await_warm_trainer() -> None:
    """Return once the trainer that waits for the next job has loaded, and all is quiet for a while.

    One that is still loading takes processor time.
    """
    before = None
    while (now := _seconds_of_trainers()) != before or not now:
        before = now
        time.sleep(QUIET_SECONDS)


def _seconds_of_trainers() -> float:
    seconds = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "worker.nursery" in process.cmdline():
                seconds += sum(process.cpu_times()[:2])
    return seconds


def _bare_latency(sender: Celery, folder: Path, number: int) -> float:
    sent = time.time()
    sender.send_task("bare.note", args=[str(folder), number], queue=BARE_QUEUE)
    note = folder / str(number)
    _wait_until(lambda: note.exists() and note.stat().st_size > 0)
    return float(note.read_text()) - sent


def _job_latency(database: Database, settings: Settings) -> Latency:
    with database.write() as connection:
        new = NewJob(kind="distill", params=TINY, queue=GPU_QUEUE, reuse=False)
        job = jobs.insert_job(connection, OWNER, new)
    committed = time.time()
    _wait_until(lambda: _read(database, job.id).is_terminal)
    ended = _read(database, job.id)
    if ended.state != "succeeded":
        raise RuntimeError(f"the job {ended.state}: {ended.error}")
    with database.read() as connection:
        (attempt,) = attempts_of(connection, OWNER, job.id)
    started = _logged_start(settings.log_folder / f"{job.id}.log")
    return Latency(attempt.started_at.timestamp() - committed, started - committed)


def _read(database: Database, job_id: str) -> Job:
    with database.read() as connection:
        return find_job(connection, OWNER, job_id)


def _logged_start(log: Path) -> float:
    line = next(line for line in log.read_text().splitlines() if " start: " in line)
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def _bare_argv() -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.bare_celery", "worker"),
        *("-P", "prefork", "-c", "1", "-Q", BARE_QUEUE, "-n", "bare@%h"),
        *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
    ]


@contextlib.contextmanager
def _worker(argv: Sequence[str], settings: Settings) -> Iterator[None]:
    environment = {
        **os.environ,
        "DDCAL_DATA_FOLDER": str(settings.folder),
        "DDCAL_REDIS_URL": settings.redis_url,
        "BARE_BROKER_URL": settings.redis_url,
    }
    with (settings.folder / "workers.log").open("ab") as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing happened for a minute")
        time.sleep(0.02)  # of what is measured the times are written down: this is in its way


if __name__ == "__main__":
    main(sys.argv[1:])
