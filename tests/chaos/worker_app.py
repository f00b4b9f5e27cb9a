"""The worker as people run it, but for its trainers, which compute next to nothing.

`python -P -m tests.chaos.worker_program` is started as `worker.supervisor` is; the parent and the
pool child both load this module. With CHAOS_WITHOUT one safeguard of the engine is
taken out of their process: a chaos run on such workers has to end with violations. To import this
module is to change the process: tests do not.
"""

import os
import sys
from pathlib import Path

from sqlalchemy import true

import worker.supervisor.programs
import worker.supervisor.trainer_process
from app.shared.engine import runs
from tests.chaos.safeguards import FENCE, LEASES, RUN_VARIABLE, WITHOUT_VARIABLE
from worker.supervisor.celery_app import celery

celery.conf.imports = ("tests.chaos.worker_app", "worker.supervisor.tasks")
worker.supervisor.programs.PASSED_ON += (RUN_VARIABLE,)
STAND_IN = (sys.executable, str(Path(__file__).with_name("trainer.py")))
worker.supervisor.trainer_process.start_trainer = lambda _queue: (
    worker.supervisor.trainer_process.start_child(STAND_IN)
)


def remove(safeguard: str | None) -> None:
    """Take a safeguard out of this process's engine."""
    if safeguard == FENCE:
        runs._holds = lambda _: (runs.jobs.c.state.in_(runs.ACTIVE_STATES),)
    elif safeguard == LEASES:
        # A run is taken for lost however lately it was heard of.
        runs._is_lost = true


remove(os.environ.get(WITHOUT_VARIABLE))
