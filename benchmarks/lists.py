"""Lists of jobs at two sizes, side by side: what each question costs, and how it is answered.

python -m benchmarks.lists [--jobs 1000000] [--postgres] [--plans]
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, event, insert, text
from sqlalchemy.engine import Connection

from app.shared.settings import Settings
from app.shared.store.database import migrate
from app.shared.store.descriptions import Search
from app.shared.store.job_queries import list_jobs
from app.shared.store.job_records import NewJob, first_id
from app.shared.store.tables import jobs, search_terms
from tests.servers import fresh_postgres_database, running_postgres

OWNER = "local"
START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_BETWEEN = 20
RARE, OFTEN = 100_000, 10
AT_ONCE = 5_000
PAGE = 51
REPEATS = 5
SPEC = {"method": "dm", "images_per_class": 10, "mask": {"ratio": 0.0, "unit": "pixel"}}
PADDING = "x" * 800
"""Params have as many bytes as a pipeline's with its defaults filled in."""


def row_of(k: int) -> dict[str, Any]:
    """The k-th job: of each hundred thousand one is rare in every way."""
    is_rare = k % RARE == 17
    spec = {**SPEC, "method": "mtt", "images_per_class": 3, "mask": {"ratio": 0.3}}
    params = {"dataset": "digits", "padding": PADDING, "distill": spec if is_rare else SPEC}
    made_at = START + timedelta(seconds=SECONDS_BETWEEN * k)
    new = NewJob(
        id=first_id("job", made_at),
        kind="evaluate" if is_rare else "distill",
        params=params,
        dataset="rare" if is_rare else "digits",
        name="a needle" if is_rare else "some straw" if k % OFTEN == 0 else None,
        tags={"env": "prod"} if is_rare else {"env": "test"} if k % OFTEN == 0 else None,
    )
    state = "failed" if is_rare else "succeeded"
    times = {"created_at": made_at, "ended_at": made_at}
    return {**new.columns(), "owner_id": OWNER, "state": state, **times}


def fill(connection: Connection, n_jobs: int) -> None:
    """Write jobs with their terms."""
    for start in range(0, n_jobs, AT_ONCE):
        rows = [row_of(k) for k in range(start, min(start + AT_ONCE, n_jobs))]
        connection.execute(insert(jobs), rows)
        terms = [
            {"owner_id": OWNER, "resource_id": row["id"], "job_id": row["id"], "term": term}
            for row in rows
            if row["name"]
            for term in (*row["name"].split(), f"env:{row['tags']['env']}")
        ]
        connection.execute(insert(search_terms), terms)
    # PostgreSQL counts by itself, a little later; SQLite never does.
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))


def questions(n_jobs: int) -> dict[str, dict[str, Any]]:
    """What lists are asked, in the arguments of `list_jobs`."""
    half = START + timedelta(seconds=SECONDS_BETWEEN * n_jobs // 2)
    return {
        "newest": {"filters": {}},
        "the middle page": {"filters": {}, "after": first_id("job", half)},
        "in no pipeline": {"filters": {"parent_id": ""}},
        "state, rare": {"filters": {"state": "failed"}},
        "running": {"filters": {"state": "running"}},
        "kind, rare": {"filters": {"kind": "evaluate"}},
        "data set, rare": {"filters": {"dataset": "rare"}},
        "method, rare": {"filters": {"method": "mtt"}},
        "images per class, rare": {"filters": {"images_per_class": 3}},
        "mask ratio, rare": {"filters": {"mask_ratio": 0.3}},
        "tag, rare": {"filters": {}, "search": Search(tags=("env:prod",))},
        "tag, common": {"filters": {}, "search": Search(tags=("env:test",))},
        "word, rare": {"filters": {}, "search": Search(text="need")},
        "word, common": {"filters": {}, "search": Search(text="stra")},
        "two words, common": {"filters": {}, "search": Search(text="some stra")},
        "word and state, rare": {"filters": {"state": "failed"}, "search": Search(text="needle")},
        "id": {"filters": {}, "search": Search(text=first_id("job", half)[:20])},
        "a day": {
            "filters": {},
            "search": Search(created_after=half, created_before=half + timedelta(days=1)),
        },
    }


def milliseconds(ask: Callable[[], Sequence[object]]) -> float:
    """The median time of an answer."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - started))
    return median(taken)


def plan_of(connection: Connection, ask: Callable[[], Sequence[object]]) -> str:
    """How the database answers the last statement of a question."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        seen.append((statement, values))

    event.listen(connection, "before_cursor_execute", note)
    ask()
    event.remove(connection, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{explain} {seen[-1][0]}", seen[-1][1]).all()
    return "\n".join(f"      {row[-1]}" for row in rows)


def measure(url: str, n_jobs: int, *, plans: bool) -> dict[str, tuple[float, int, str]]:
    """Question -> milliseconds, rows found, plan; on a database of so many jobs."""
    migrate(Settings(data_folder=Path(tempfile.mkdtemp()), database_url=url))
    engine = create_engine(url)
    with engine.begin() as connection:
        fill(connection, n_jobs)
    found = {}
    with engine.connect() as connection:
        for name, asked in questions(n_jobs).items():

            def ask(asked: dict[str, Any] = asked) -> Sequence[object]:
                return list_jobs(connection, OWNER, limit=PAGE, **asked)

            plan = plan_of(connection, ask) if plans else ""
            found[name] = milliseconds(ask), len(ask()), plan
    engine.dispose()
    return found


@contextlib.contextmanager
def databases(*, is_postgres: bool) -> Iterator[tuple[str, str]]:
    """URLs of two fresh databases."""
    if not is_postgres:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/small.sqlite", f"sqlite:///{folder}/large.sqlite"
        return
    with (
        running_postgres() as folder,
        fresh_postgres_database(folder, "small") as small,
        fresh_postgres_database(folder, "large") as large,
    ):
        yield small, large


def main() -> None:
    """Print a line a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--plans", action="store_true", help="how the large database answers")
    asked = parser.parse_args()
    n_small = asked.jobs // 100
    with databases(is_postgres=asked.postgres) as (small_url, large_url):
        small = measure(small_url, n_small, plans=False)
        large = measure(large_url, asked.jobs, plans=asked.plans)
    print(f"{'ms':26} {n_small:>10,} {asked.jobs:>10,}   ratio  rows")
    for name, (taken, n_rows, plan) in large.items():
        before = small[name][0]
        print(f"{name:26} {before:10.2f} {taken:10.2f} {taken / before:7.1f} {n_rows:5}")
        if plan:
            print(plan)


if __name__ == "__main__":
    main()
