"""A queue with many jobs: what a claim takes, and a look of the reconciler, beside a short queue.

    python -m benchmarks.deep_queue [--jobs 100000] [--postgres]

The jobs wait in one queue, with a few priorities, and have all been due for long and never rung
for. A claim is rolled back, so that each finds the same queue. By the clock, the median of five.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import insert, text

from app.shared.engine.runs import claim_next
from app.shared.settings import Settings
from app.shared.store.database import Connection, Database, migrate, open_database
from app.shared.store.job_records import NewJob, first_id
from app.shared.store.kinds import GPU_QUEUE
from app.shared.store.tables import jobs
from app.shared.upkeep.reconciler import reconcile
from benchmarks.lists import databases

OWNER = "local"
START = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE, REPEATS, FEW, N_PRIORITIES = 5_000, 5, 100, 3
PARAMS = {"dataset": "digits", "distill": {"method": "dm", "images_per_class": 10}}


class UndoneError(Exception):
    """Thrown to roll a transaction back."""


def fill(connection: Connection, n_jobs: int) -> None:
    """Write jobs that wait in the queue."""
    for start in range(0, n_jobs, AT_ONCE):
        rows = []
        for k in range(start, min(start + AT_ONCE, n_jobs)):
            made_at = START + timedelta(seconds=k)
            new = NewJob(
                id=first_id("job", made_at),
                kind="distill",
                queue=GPU_QUEUE,
                params=PARAMS,
                dataset="digits",
                priority=k % N_PRIORITIES,
            )
            times = {"created_at": made_at, "queued_at": made_at}
            rows.append({**new.columns(), "owner_id": OWNER, "state": "queued", **times})
        connection.execute(insert(jobs), rows)
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))


def claim(database: Database) -> None:
    """Claim a job and give it back."""
    try:
        with database.write() as connection:
            job = claim_next(connection, queue=GPU_QUEUE, worker="bench", lease_seconds=60)
            if job is None or job.priority != N_PRIORITIES - 1:
                raise ValueError(f"wanted a job of the highest priority, got {job}")
            raise UndoneError
    except UndoneError:
        pass


def milliseconds(call: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """The time of each of some calls."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def measure(database: Database, settings: Settings) -> tuple[float, float, float]:
    """A claim, the first look of the reconciler, and a look after that."""
    claimed = median(milliseconds(lambda: claim(database)))
    first, *others = milliseconds(lambda: reconcile(database, settings))
    return claimed, first, median(others)


def measured(url: str, n_jobs: int) -> tuple[float, float, float]:
    """The same of a database filled with jobs."""
    with tempfile.TemporaryDirectory(prefix="deep-queue-") as folder:
        settings = Settings(data_folder=Path(folder), database_url=url)
        migrate(settings)
        database = open_database(settings)
        with database.write() as connection:
            fill(connection, n_jobs)
        return measure(database, settings)


def main() -> None:
    """Print a row for each depth of the queue."""
    parser = argparse.ArgumentParser(description="What a deep queue costs.")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true")
    asked = parser.parse_args()
    print("         jobs         claim  first look  later looks")
    with databases(is_postgres=asked.postgres) as urls:
        for url, depth in zip(urls, (FEW, asked.jobs), strict=True):
            claimed, first, later = measured(url, depth)
            print(f"{depth:>13,}{claimed:11.1f} ms{first:9.1f} ms{later:10.1f} ms")


if __name__ == "__main__":
    main()
