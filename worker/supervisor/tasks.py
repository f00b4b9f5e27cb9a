"""The one task: a doorbell. What there is to do stands in the database."""

import logging
import os
import socket
from functools import cache

from celery import Task
from celery.signals import worker_process_init

from app.shared.engine.queue import WAKE_TASK
from app.shared.signs_of_life import sign_giver
from app.shared.store.database import open_database
from app.shared.upkeep.confinement import not_kept_from
from worker.supervisor.celery_app import (
    NAME_VARIABLE,
    QUEUES_VARIABLE,
    celery,
    drain_file,
    settings,
)
from worker.supervisor.supervisor import Supervisor, WorkerProcess

logger = logging.getLogger(__name__)


@celery.task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Task) -> int:
    """Work off the queue the bell was rung for; tells how many jobs were run."""
    return supervisor_of(self.request.delivery_info["routing_key"]).work()


@cache
def supervisor_of(queue: str) -> Supervisor:
    """This process's supervisor of a queue."""
    name = os.environ[NAME_VARIABLE]
    return Supervisor(
        open_database(settings),
        settings,
        queue=queue,
        worker=WorkerProcess(
            name=f"{queue}-{name}@{socket.gethostname()}",
            is_draining=drain_file(settings, name).exists,
            give_sign=sign_giver("jobs", os.environ),
        ),
    )


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _warm_up(**_: object) -> None:
    """Tell what trainers are not kept from; start the first ones before the first bell."""
    for what in not_kept_from(settings):
        logger.warning("jobs are not kept from %s", what)
    for queue in os.environ.get(QUEUES_VARIABLE, "").split(","):
        if queue:
            supervisor_of(queue)
