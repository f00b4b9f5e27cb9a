"""How a worker that `ddcal serve` has started tells it that its loops go on turning.

By datagrams to sockets of serve's, one for each loop: nobody waits for them, and none is left over.
"""

import contextlib
import socket
from collections.abc import Callable, Mapping

SIGNS_VARIABLE = "WORKER_SIGNS"
"""In the environment of such a worker: what the paths of its sockets begin with."""

LOOPS = ("loop", "jobs")
"""Celery's loop, which hears bells, and the supervisor's, which runs jobs."""


def sign_path(prefix: str, loop: str) -> str:
    """Where serve listens for the signs of a loop."""
    return f"{prefix}-{loop}"


def sign_giver(loop: str, environment: Mapping[str, str]) -> Callable[[], None]:
    """What a loop calls in its turns; without a serve to hear it, it does nothing."""
    prefix = environment.get(SIGNS_VARIABLE)
    if prefix is None:
        return lambda: None
    path = sign_path(prefix, loop)

    def give() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            # Full while serve does not listen, gone when it has ended.
            with contextlib.suppress(OSError):
                sender.sendto(b".", path)

    return give
