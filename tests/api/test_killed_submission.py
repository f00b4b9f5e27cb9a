"""An API killed at any statement of a submission: the job is there with all its parts, or not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from app.shared.settings import Settings
from app.shared.store import tables
from app.shared.store.database import open_database
from app.shared.store.job_records import new_id
from app.submission.requests import JOB_REQUESTS
from app.submission.submit import submit

ROOT = Path(__file__).parents[2]
BODY = b"""{"kind": "pipeline", "params": {"dataset": "digits", "baselines": [],
    "distill": {"images_per_class": 1, "depth": 1}, "calibrate": [{"method": "none"}]}}"""
PARTS = {"jobs": 5, "events": 9, "outbox": 1}


def submit_and_die(settings: Settings, at_statement: int) -> None:
    """Submit a pipeline; be killed when so many statements have been sent."""
    database, n_statements = open_database(settings), 0

    def count(*_: object) -> None:
        nonlocal n_statements
        n_statements += 1
        if n_statements == at_statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database._writing, "before_cursor_execute", count)
    with database.write() as connection:
        asked = JOB_REQUESTS["pipeline"].model_validate_json(BODY)
        submit(connection, settings, "local", asked, job_id=new_id("job"))


# A process without threads may fork: pytest's has some, and its child might wait for one for ever.
FORKING = """
import os, sys
from app.shared.settings import Settings
from tests.api.test_killed_submission import submit_and_die
settings = Settings(data_folder=sys.argv[1], database_url=sys.argv[2])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            submit_and_die(settings, int(line))
            os._exit(0)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.long
def test_a_submission_is_whole_or_nothing(migrated_url: str, tmp_path: Path) -> None:
    """For each statement a process that is killed before it; the last one is never killed."""
    settings = Settings(data_folder=tmp_path / "data", database_url=migrated_url)
    settings.folder.mkdir()
    n_killed = 0
    argv = [sys.executable, "-c", FORKING, settings.data_folder, settings.database_url]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as forking:
        assert forking.stdin is not None
        assert forking.stdout is not None
        while True:
            print(n_killed + 1, file=forking.stdin, flush=True)
            status = int(forking.stdout.readline())
            assert status in (0, -signal.SIGKILL)
            if status == 0:
                break
            n_killed += 1
            assert rows(settings) == dict.fromkeys(PARTS, 0)
        forking.stdin.close()
    assert n_killed > 5
    assert rows(settings) == PARTS


def rows(settings: Settings) -> dict[str, int]:
    """How many there are of each part."""
    database = open_database(settings)
    with database.read() as connection:
        found = {
            name: connection.execute(
                select(func.count()).select_from(tables.metadata.tables[name])
            ).scalar_one()
            for name in PARTS
        }
    database.close()
    return found
