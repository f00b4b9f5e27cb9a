"""A worker of `ddcal serve` shows that it hears bells: its loop turns, and so does its pool child.

The child gives its sign when it is rung for. While it has nothing to do, the loop rings for it: a
ring goes to the broker and comes back as all others do.
"""

import logging
import os
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state
from celery.worker.consumer.consumer import Consumer
from celery.worker.consumer.tasks import Tasks

from app.shared.engine.queue import WAKE_TASK
from app.shared.signs_of_life import SIGNS_VARIABLE, sign_giver

_LOOP_SIGNS, _RINGS = 20, 6  # within the limit

logger = logging.getLogger(__name__)


def give_loop_signs(celery: Celery, hang_seconds: float) -> None:
    """Have the worker that this app becomes give signs, where serve listens for them."""
    if SIGNS_VARIABLE not in os.environ:
        return

    class LoopSigns(bootsteps.StartStopStep):  # type: ignore[misc]
        """Timers of the consumer's loop; Celery's only way to them is a class."""

        requires = (Tasks,)
        _timers: tuple[Any, ...] = ()

        def start(self, consumer: Consumer) -> None:
            """After each connection to the broker."""
            give_sign = sign_giver("loop", os.environ)
            self._timers = (
                consumer.timer.call_repeatedly(hang_seconds / _LOOP_SIGNS, give_sign),
                consumer.timer.call_repeatedly(hang_seconds / _RINGS, _ring_if_idle, (consumer,)),
            )

        def stop(self, consumer: Consumer) -> None:  # noqa: ARG002
            """Before the connection ends."""
            for timer in self._timers:
                timer.cancel()
            self._timers = ()

        shutdown = stop

    celery.steps["consumer"].add(LoopSigns)


def _ring_if_idle(consumer: Consumer) -> None:
    if state.reserved_requests:  # a ring that is still being worked off, or not taken
        return
    for queue in consumer.app.amqp.queues.consume_from:
        try:
            consumer.app.send_task(WAKE_TASK, queue=queue, ignore_result=True, retry=False)
        except Exception as error:  # noqa: BLE001  the loop goes on, whatever the broker says
            logger.warning("no ring for %s: %s", queue, error)
