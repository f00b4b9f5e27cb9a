"""The doorbell: an empty Celery message that says a queue has work, and the outbox behind it."""

from collections import Counter
from importlib import import_module
from types import ModuleType
from typing import Protocol

from celery import Celery
from celery.loaders.app import AppLoader
from sqlalchemy import Connection, delete, insert, select

from app.shared.settings import Settings
from app.shared.store.database import Database, db_now
from app.shared.store.kinds import GPU_QUEUE
from app.shared.store.tables import outbox

WAKE_TASK = "ddcal.wake"
MAX_RINGS = 16  # in one go; who claims one job goes on with the next
MAX_ORDERS = 500

_ORDERS = select(outbox.c.id, outbox.c.queue).limit(MAX_ORDERS)
_ORDERING = insert(outbox).values(created_at=db_now())


class Doorbell(Protocol):
    """Something that can wake the workers of a queue."""

    def ring(self, queue: str) -> None:
        """Wake one idle worker, if there is one; may raise OSError when nobody can be reached."""


class CeleryDoorbell:
    """Rings by sending an empty Celery message by name."""

    def __init__(self, settings: Settings) -> None:
        self._celery = celery_sender(settings)

    def ring(self, queue: str) -> None:
        """Send one message; fails within seconds when the broker does not answer."""
        # No retry here: the order stays in the outbox, and the relay comes back to it.
        self._celery.send_task(WAKE_TASK, queue=queue, ignore_result=True, retry=False)


class InstalledModules(AppLoader):  # type: ignore[misc]
    """Imports as Python does; Celery's own loader takes what lies in the current folder first."""

    def import_from_cwd(
        self,
        module: str,
        imp: object = None,  # noqa: ARG002
        package: str | None = None,
    ) -> ModuleType:
        """Import a module, and not from the current folder."""
        return import_module(module, package)


def celery_sender(settings: Settings) -> Celery:
    """A Celery app that can send and be a worker's; see the settings' reasons in worker."""
    celery = Celery(
        "ddcal", broker=settings.redis_url, set_as_current=False, loader=InstalledModules
    )
    celery.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=GPU_QUEUE,
        task_publish_retry=False,
        broker_connection_retry_on_startup=True,
        # None is for ever: a worker outlives any outage of its broker.
        broker_connection_max_retries=None,
        broker_transport_options={
            # A connection may fall silent without an end: these make the client notice.
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "ddcal:",
        },
    )
    return celery


def order_ring(connection: Connection, owner_id: str, queue: str) -> None:
    """Put a ring into the outbox, in the transaction that gives the queue work."""
    connection.execute(_ORDERING, {"owner_id": owner_id, "queue": queue})


def relay_rings(database: Database, doorbell: Doorbell) -> int:
    """Ring for what the outbox holds, then forget it; a ring too many does no harm.

    Returns:
        How many times a bell was rung.
    """
    with database.read() as connection:
        orders = connection.execute(_ORDERS).all()
    # Rung before forgotten: a crash in between rings twice, the other way round not at all.
    n_orders = Counter(order.queue for order in orders)
    for queue, n in n_orders.items():
        for _ in range(min(n, MAX_RINGS)):
            doorbell.ring(queue)
    if orders:
        with database.write() as connection:
            rung = [order.id for order in orders]
            connection.execute(delete(outbox).where(outbox.c.id.in_(rung)))
    return sum(min(n, MAX_RINGS) for n in n_orders.values())
