"""Pages: what each weighs and costs, beside a page that shows nothing; and beside few jobs.

    python -m benchmarks.pages DATA_FOLDER [--jobs 100000]

The folder is one of a service that has run (and is stopped): it is copied, many ended jobs are
added to the copy, and one page of each kind is asked for that links lead to. Processor time is of
this process, which is the server and the client; the median of some requests. A page's weight is
its HTML as it is sent; scripts and styles are kept by the browser after the first page.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx

from app.shared.settings import Settings
from app.shared.store.database import migrate, open_database
from benchmarks.lists import fill
from tests.api.serving import running_api
from tests.browser.test_pages import ACCEPT, pages_of

REPEATS = 15
BARE = "/there-is-no-such-page"


def cost(client: httpx.Client, address: str) -> tuple[float, int]:
    """Milliseconds of processor time, and bytes."""
    client.get(address)
    taken, size = [], 0
    for _ in range(REPEATS):
        started = time.process_time()
        size = len(client.get(address).content)
        taken.append(1000 * (time.process_time() - started))
    return median(taken), size


def costs(folder: Path, n_jobs: int) -> dict[str, tuple[float, int]]:
    """Of one page of each kind, on a copy of a service's data with so many jobs more."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "data"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("redis", "run", "work"))
        url = f"sqlite:///{copy / 'ddcal.sqlite'}"
        settings = Settings(data_folder=copy, database_url=url, no_key=True)
        migrate(settings)
        database = open_database(settings)
        with database.write() as connection:
            fill(connection, n_jobs)
        database.close()
        with running_api(settings) as api:
            pages = {BARE: BARE, **pages_of(str(api.client.base_url))}
            with httpx.Client(base_url=api.client.base_url, headers=ACCEPT, timeout=60) as client:
                return {kind: cost(client, address) for kind, address in pages.items()}


def main() -> None:
    """Print a line a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--jobs", type=int, default=100_000)
    asked = parser.parse_args()
    few, many = costs(asked.data_folder, 0), costs(asked.data_folder, asked.jobs)
    bare = many[BARE][0]
    print(f"| page | kB | ms, few jobs | ms, {asked.jobs:,} more | beside a bare page |")
    print("|---|---|---|---|---|")
    for kind, (taken, size) in many.items():
        before = few.get(kind, (float("nan"), 0))[0]
        print(f"| {kind} | {size / 1000:.1f} | {before:.1f} | {taken:.1f} | {taken / bare:.1f} |")


if __name__ == "__main__":
    main()
