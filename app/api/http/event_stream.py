"""What listeners are told, as the text of server-sent events, and the queue of each listener."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import monotonic

from app.api.http.responses import rfc3339
from app.shared.engine.events import STATE, Event
from app.shared.engine.versions import JobVersion
from app.shared.store.job_states import TERMINAL_STATES

RETRY_MILLISECONDS = 3000
FIRST_LINES = b"retry: %d\n\n" % RETRY_MILLISECONDS
"""How long a client is to wait before it comes back, when the line is cut."""


@dataclass(frozen=True)
class Told:
    """What goes over the line to every listener alike: an event, or a ping.

    Attributes:
        text: bytes of a text/event-stream.
        is_last: whether nothing follows.
    """

    text: bytes
    is_last: bool = False


# A line that begins with a colon is a comment: clients pass over it.
PING = Told(b": ping\n\n")
END = Told(b"", is_last=True)
SIGNS = (PING, END)


def as_told(event: Event) -> Told:
    """An event as it goes over the line; nothing follows the one that ends its job."""
    data = json.dumps({**event.data, "created_at": rfc3339(event.created_at)})
    # One data line is enough: JSON escapes the line breaks within its strings.
    text = f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode()
    is_last = event.type == STATE and event.data.get("state") in TERMINAL_STATES
    return Told(text, is_last)


class Stream:
    """One listener: where it stands, and what it has still to send."""

    def __init__(self, job_id: str, *, after: int) -> None:
        self.job_id = job_id
        self.position = after
        self.opened_at = self.spoken_at = monotonic()
        self.is_over = False
        self._waiting: list[Told] = []
        self._has_news = asyncio.Event()
        # Two counts, each written by one thread alone: the reader's, the event loop's.
        self._n_offered = 0
        self._n_taken = 0

    @property
    def n_pending(self) -> int:
        """How many events its client has still to take."""
        return self._n_offered - self._n_taken

    def offered(self, told: Sequence[Told], position: int) -> "News":
        """Note in the reader's thread which events are about to be handed out, up to which."""
        self.position = position
        self._n_offered += len(told)
        return self, told

    def hand_out(self, told: Sequence[Told]) -> None:
        """Take in the event loop what is new."""
        self._waiting += told
        self.spoken_at = monotonic()
        self.is_over |= any(one.is_last for one in told)
        self._has_news.set()

    async def lines(self) -> AsyncIterator[bytes]:
        """All that has come since the last time, until the end."""
        is_over = False
        while not is_over:
            await self._has_news.wait()
            self._has_news.clear()
            told, self._waiting = self._waiting, []
            self._n_taken += sum(one not in SIGNS for one in told)
            is_over = any(one.is_last for one in told)
            if text := b"".join(one.text for one in told):
                yield text


class Watch:
    """One wait for a job to have another version than was seen."""

    def __init__(self, seen: JobVersion) -> None:
        self.seen = seen
        self._is_over = asyncio.Event()

    def hand_out(self, _: Sequence[Told]) -> None:
        """Learn in the event loop that there is nothing more to wait for."""
        self._is_over.set()

    async def wait(self, seconds: float) -> None:
        """Return once it is over, or after so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_over.wait(), seconds)


News = tuple[Stream | Watch, Sequence[Told]]
"""Who is told what."""
