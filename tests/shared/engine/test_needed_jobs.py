"""Jobs that one job needs, ending at once: it starts, and nobody waits for the other for ever."""

import threading
import time
from collections.abc import Callable

from app.shared.engine import locks as job_locks
from app.shared.engine import runs
from app.shared.errors import UnavailableError
from app.shared.store.database import Database
from app.shared.store.job_records import Ending, Job
from tests.shared.conftest import OWNER, state_of

BOTH_WAIT_SECONDS = 0.7


def test_two_needed_jobs_that_end_at_once_do_not_wait_for_each_other(
    database: Database, submit: Callable[..., Job], claim: Callable[..., Job | None]
) -> None:
    """Both hold their own row and want that of the job that waits; neither wants the other's."""
    needed = [submit(), submit()]
    waiting = submit(needs=tuple(job.id for job in needed))
    started = [claim(), claim()]
    failures: list[UnavailableError] = []

    def end(run: Job) -> None:
        try:
            with database.write() as connection:
                runs.succeed(connection, run, Ending())
        except UnavailableError as error:
            failures.append(error)

    threads = [threading.Thread(target=end, args=(run,)) for run in started]
    with database.write() as connection:
        job_locks.locked_job(connection, OWNER, waiting.id)
        for thread in threads:
            thread.start()
        time.sleep(BOTH_WAIT_SECONDS)
    for thread in threads:
        thread.join()

    assert failures == []
    assert state_of(database, waiting.id) == "queued"
