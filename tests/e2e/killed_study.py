"""A study, killed with everything under it at random moments: same table, nothing computed twice.

    python -m tests.e2e.killed_study --cells 100 --kills 10 [--seed 1]

It is run once undisturbed, and once with `kill -9` of serve and all its processes at random
moments, each followed by a new start on the same folder. Prints what came of it; exit status 1
where the tables differ or a recipe was computed twice.
"""

import argparse
import csv
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from app.shared.settings import Settings
from app.shared.store.database import open_database
from app.shared.store.tables import jobs
from ddcal import Client
from tests.services import TINY_DISTILL, kill_whole, running_service
from tests.waiting import until

OF_A_CELL = ("cell", "report_id", "job_id", "model_id", "calibration_id")
"""Columns that hold ids, and differ from run to run."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a study.

    Attributes:
        state: that it ended in.
        table: rows of the comparison, without ids, in order.
        n_computed: jobs that have computed their results.
        n_twice: jobs that computed what another had computed.
        n_reused: jobs that took their results over.
        n_attempts: of all jobs.
        n_kills: of the whole service.
    """

    state: str
    table: list[tuple[tuple[str, str], ...]]
    n_computed: int
    n_twice: int
    n_reused: int
    n_attempts: int
    n_kills: int


def study_of(n_cells: int) -> dict[str, object]:
    """A study of tiny pipelines: two masks, as many seeds as make the cells."""
    base = {
        "dataset": "digits",
        "distill": TINY_DISTILL,
        "train": {"width": 4, "depth": 1, "n_seeds": 1, "epochs": 2},
        "baselines": [],
        "calibrate": [{"method": "none"}, {"method": "ts", "fit_on": "validation"}],
        "evaluate": {"mts_ratios": []},
    }
    vary = {"distill.mask.ratio": [0, 0.3], "seed": list(range(n_cells // 2))}
    return {"kind": "study", "params": {"base": base, "vary": vary}}


def run_study(folder: Path, n_cells: int, *, n_kills: int, chance: random.Random) -> Outcome:
    """Submit a study and see it through, killing the service so many times on its way."""
    study_id = ""
    for k in range(n_kills):
        with running_service(folder) as service:
            with Client(service.url) as client:
                study_id = study_id or client.submit(study_of(n_cells)).id
                # Spread over the whole run: by how far it is, and not by the clock.
                _await_share(client, study_id, (k + chance.random()) / (n_kills + 1))
            time.sleep(chance.random())
            kill_whole(service)
    with running_service(folder) as service, Client(service.url) as client:
        study_id = study_id or client.submit(study_of(n_cells)).id
        client.job(study_id).wait()
        return _outcome(folder, client, study_id, n_kills)


def _await_share(client: Client, study_id: str, wanted: float) -> None:
    until(lambda: _share(client, study_id) >= wanted, seconds=3_600)


def _share(client: Client, study_id: str) -> float:
    progress = client.job(study_id).record.progress
    return progress.fraction if progress else 0.0


def _outcome(folder: Path, client: Client, study_id: str, n_kills: int) -> Outcome:
    job = client.job(study_id)
    (made,) = [one for one in job.results if one.record.resource == "comparison"]
    made.download(folder / "comparison", format="csv")
    database = open_database(Settings(data_folder=folder))
    columns = (jobs.c.recipe, jobs.c.reused_from, jobs.c.attempt, jobs.c.kind)
    with database.read() as connection:
        own = select(*columns).where(jobs.c.parent_id == study_id, jobs.c.recipe.is_not(None))
        rows = connection.execute(own).all()
    database.close()
    computed = Counter(row.recipe for row in rows if row.reused_from is None)
    return Outcome(
        state=job.state,
        table=_table(next((folder / "comparison").glob("*.csv"))),
        n_computed=sum(computed.values()),
        n_twice=sum(n - 1 for n in computed.values()),
        n_reused=sum(row.reused_from is not None for row in rows),
        n_attempts=sum(row.attempt for row in rows),
        n_kills=n_kills,
    )


def _table(path: Path) -> list[tuple[tuple[str, str], ...]]:
    with path.open(newline="") as file:
        rows = [
            tuple((name, value) for name, value in row.items() if name not in OF_A_CELL)
            for row in csv.DictReader(file)
        ]
    return sorted(rows)


def compared(n_cells: int, n_kills: int, seed: int) -> tuple[Outcome, Outcome]:
    """The outcome of an undisturbed run, and of one that was killed so many times."""
    with tempfile.TemporaryDirectory() as folder:
        chance = random.Random(seed)
        quiet = run_study(Path(folder) / "quiet", n_cells, n_kills=0, chance=chance)
        killed = run_study(Path(folder) / "killed", n_cells, n_kills=n_kills, chance=chance)
    return quiet, killed


def main() -> int:
    """Run it at full size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    quiet, killed = compared(asked.cells, asked.kills, asked.seed)
    for name, one in (("undisturbed", quiet), ("killed", killed)):
        sys.stdout.write(
            f"{name}: {one.state}, {len(one.table)} rows, {one.n_computed} computed, "
            f"{one.n_twice} twice, {one.n_reused} taken over, {one.n_attempts} attempts, "
            f"{one.n_kills} kills\n"
        )
    is_same = quiet.table == killed.table
    sys.stdout.write("same table\n" if is_same else "the tables differ\n")
    return 0 if is_same and not killed.n_twice else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
