"""The Celery app of a worker: what it is set to, and what its processes do when they start.

The parent process hosts the relay and the reconciler; its children, started afresh rather than
forked from a process with threads, run the jobs: one of them, unless it checks uploads alone.
Reasons for each setting: early ack, because a lost run is found by its lease, and a late ack runs
a job twice; no prefetch, so that a job never waits behind a busy worker; no time limits, because
the supervisor enforces them.
"""

import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Any

from celery import Celery
from celery.apps.worker import Worker
from celery.signals import (
    celeryd_init,
    setup_logging,
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from app.shared.engine.queue import CeleryDoorbell, celery_sender
from app.shared.json_logs import log_as_json
from app.shared.settings import Settings
from app.shared.startup import create_privately
from app.shared.store.database import open_database, settings_with_database_or_exit
from app.shared.upkeep.reconciler import Background, start_background
from worker.supervisor.loop_signs import give_loop_signs

# What the pool's child learns through its environment: which trainers to keep warm, and a name
# that no other worker has, not even one of the same pid in another container.
QUEUES_VARIABLE = "WORKER_QUEUES"
NAME_VARIABLE = "WORKER_NAME"
_STOP_SECONDS = 45.0
WORKER_SETTINGS: dict[str, Any] = {
    "imports": ("worker.supervisor.tasks",),
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "worker_concurrency": 1,
    "worker_pool": "prefork",
    "worker_pool_start_method": "spawn",
    # A child that starts afresh imports everything: on a busy machine longer than Celery's 4 s.
    "worker_proc_alive_timeout": 120.0,
    "task_reject_on_worker_lost": False,
    "task_time_limit": None,
    "task_soft_time_limit": None,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "result_backend": None,
}


def drain_file(settings: Settings, worker_name: str) -> Path:
    """Exists from the moment that worker has been asked to go down."""
    return settings.folder / "run" / f"drain-{worker_name}"


def create_celery(settings: Settings) -> Celery:
    """The worker's Celery app."""
    celery = celery_sender(settings)
    celery.conf.update(WORKER_SETTINGS)
    return celery


settings = settings_with_database_or_exit()
celery = create_celery(settings)
give_loop_signs(celery, settings.hang_seconds)


class _Parent:
    """What the worker's parent process keeps while it is up."""

    background: Background | None = None


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _create_privately(**_: object) -> None:
    """Before anything is created; the pool's child has it from its parent."""
    create_privately()


@celeryd_init.connect  # type: ignore[untyped-decorator]
@setup_logging.connect  # type: ignore[untyped-decorator]
def _log_as_json(**_: object) -> None:
    """In the parent and in its child; with this receiver Celery sets up no logging of its own."""
    log_as_json(settings.log_level)
    # A bell says nothing: what it leads to is logged.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


@worker_init.connect  # type: ignore[untyped-decorator]
def _tell_queues(sender: Worker, **_: object) -> None:
    """Before the pool starts."""
    os.environ[NAME_VARIABLE] = secrets.token_hex(4)
    os.environ[QUEUES_VARIABLE] = ",".join(sender.app.amqp.queues.consume_from)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _start_background(**_: object) -> None:
    database = open_database(settings)
    _Parent.background = start_background(database, settings, CeleryDoorbell(settings))


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _drain(**_: object) -> None:
    """Called in the signal handler: the file tells the child, which has its own main thread."""
    path = drain_file(settings, os.environ[NAME_VARIABLE])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    # Whatever of Celery's stop may hang on a broker that is gone: nobody waits for ever.
    last_resort = threading.Timer(_STOP_SECONDS + settings.stop_grace_seconds, os._exit, [1])
    last_resort.daemon = True
    last_resort.start()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_background(**_: object) -> None:
    if _Parent.background is not None:
        _Parent.background.stop()
    drain_file(settings, os.environ[NAME_VARIABLE]).unlink(missing_ok=True)
