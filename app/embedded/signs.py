"""Signs of life of serve's parts: one that hangs is as bad as one that has died, and does not end.

A part is silent for as long as serve has seen it be: between two looks no more than a share of the
limit is counted. So neither a laptop that has slept nor a serve that was frozen itself, or kept
waiting on a busy machine, takes for silence what it has not listened to.
"""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS = 300.0
"""Until a part's first sign: a machine that is busy takes minutes for what takes a second."""

_LEAST_LOOKS = 4  # that have to find a part silent, however long each takes
_LOOKS = 20  # within the limit, where nothing hangs


class Sign(Protocol):
    """One way in which a part shows that it goes on."""

    @property
    def name(self) -> str:
        """What is heard of, in words."""

    def is_given(self, patience_seconds: float) -> bool | None:
        """Has it been given since the last look? None where that cannot be told now."""


class Answer:
    """An API's: to a request that needs neither database nor broker."""

    name = "its answers"

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def is_given(self, patience_seconds: float) -> bool:
        """Any answer is one."""
        asking = http.client.HTTPConnection(self._host, self._port, timeout=patience_seconds)
        try:
            asking.request("GET", "/healthz")
            asking.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asking.close()
        return True


class Pong:
    """A broker's."""

    name = "its answers"

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def is_given(self, patience_seconds: float) -> bool:
        """Any answer is one, also that it still loads its file."""
        client = redis.Redis(
            unix_socket_path=self._path,
            socket_timeout=patience_seconds,
            socket_connect_timeout=patience_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        with contextlib.closing(client):
            try:
                client.ping()
            except redis.exceptions.BusyLoadingError:
                return True
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError):
                return False
            except redis.exceptions.RedisError:
                return True
        return True


class Heard:
    """A loop's of a worker, which says by itself that it turns; see app.shared.signs_of_life.

    While the broker is silent a worker waits for it, and is not held to account.
    """

    def __init__(self, name: str, ear: socket.socket, broker: Sign) -> None:
        self.name = name
        self._ear = ear
        self._broker = broker

    def is_given(self, patience_seconds: float) -> bool | None:
        """Has anything come?"""
        n_heard = 0
        with contextlib.suppress(OSError):  # there is no more to hear, or nobody listens any more
            while self._ear.recv(1):
                n_heard += 1
        if n_heard:
            return True
        return False if self._broker.is_given(patience_seconds) else None


@contextlib.contextmanager
def listening_at(path: str) -> Iterator[socket.socket]:
    """A socket that hears what loops send to a path, as long as the context."""
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(path)
        ear.setblocking(False)
        try:
            yield ear
        finally:
            Path(path).unlink(missing_ok=True)


class Silence:
    """For how long one sign has been missing."""

    def __init__(
        self, limit_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing has been missed yet.

        Args:
            limit_seconds: longest silence, once there has been a sign.
            clock: seconds; looks are made by it.
        """
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._looked_at = clock()
        self._seconds = 0.0
        self.has_been_broken = False

    def look(self, is_given: bool | None) -> None:
        """Take what a look has found."""
        now = self._clock()
        passed = min(now - self._looked_at, self._limit_seconds / _LEAST_LOOKS)
        self._looked_at = now
        self._seconds = self._seconds + passed if is_given is False else 0.0
        self.has_been_broken |= is_given is True

    @property
    def is_too_long(self) -> bool:
        """Has nothing been heard for longer than a living part would be silent?"""
        limit = self._limit_seconds
        return self._seconds > (limit if self.has_been_broken else max(limit, START_SECONDS))


class Watch:
    """Asks one process for its signs, in a thread of its own, until it is stopped."""

    def __init__(self, signs: Sequence[Sign], limit_seconds: float) -> None:
        """Begin.

        Args:
            signs: every one of which has to be given.
            limit_seconds: longest silence of each.
        """
        self._silences = [(sign, Silence(limit_seconds)) for sign in signs]
        self._limit_seconds = limit_seconds
        self._stopping = threading.Event()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    @property
    def has_lived(self) -> bool:
        """Has there been any sign?"""
        return any(silence.has_been_broken for _, silence in self._silences)

    @property
    def missing(self) -> str | None:
        """The sign that has been missing for too long, if any."""
        return next((sign.name for sign, silence in self._silences if silence.is_too_long), None)

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._limit_seconds / _LOOKS):
            for sign, silence in self._silences:
                silence.look(sign.is_given(self._limit_seconds / _LEAST_LOOKS))
