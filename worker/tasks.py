"""The one task: a doorbell. What there is to do stands in the database."""

import os
import socket
from collections.abc import Callable
from functools import cache

from celery import Task
from celery.signals import worker_process_init

from app.shared.database import open_database
from app.shared.queue import WAKE_TASK
from worker.celery_app import QUEUES_VARIABLE, celery, drain_file, settings
from worker.supervisor import Supervisor


@celery.task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Task) -> int:
    """Work off the queue the bell was rung for; tells how many jobs were run."""
    return supervisor_of(self.request.delivery_info["routing_key"]).work()


@cache
def supervisor_of(queue: str) -> Supervisor:
    """This process's supervisor of a queue."""
    worker = f"{queue}-{os.getpid()}@{socket.gethostname()}"
    return Supervisor(
        open_database(settings),
        settings,
        queue=queue,
        worker=worker,
        is_draining=_drain_watch(os.getppid()),
    )


def _drain_watch(parent_pid: int) -> Callable[[], bool]:
    path = drain_file(settings, parent_pid)
    return path.exists


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _warm_up(**_: object) -> None:
    """Start the first trainers before the first bell."""
    for queue in os.environ.get(QUEUES_VARIABLE, "").split(","):
        if queue:
            supervisor_of(queue)
