"""Events as they happen (server-sent events), and waits for a change of a job.

One reader a process looks for all of them, however many listen or wait.
"""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from time import monotonic
from typing import TypeVar

from app.api.http.responses import rfc3339
from app.shared.engine.events import STATE, Event, events_after
from app.shared.engine.versions import JobVersion, versions_of
from app.shared.errors import DdcalError, UnavailableError
from app.shared.store.database import Connection, Database
from app.shared.store.job_states import TERMINAL_STATES

POLL_SECONDS = 0.5
PING_SECONDS = 15.0
MAX_STREAM_SECONDS = 3600.0
RETRY_MILLISECONDS = 3000
READ_LIMIT = 1000
MAX_PENDING = 2000
MAX_LISTENERS = 2000

log = logging.getLogger(__name__)

ListenerT = TypeVar("ListenerT", "Stream", "Watch")


@dataclass(frozen=True)
class Told:
    """What goes over the line to every listener alike: an event, or a ping.

    Attributes:
        text: bytes of a text/event-stream.
        is_last: whether nothing follows.
    """

    text: bytes
    is_last: bool = False


PING = Told(b": ping\n\n")
END = Told(b"", is_last=True)
SIGNS = (PING, END)


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


class EventReader:
    """Polls the database for the new events of every job that somebody listens to or waits for.

    Used from one event loop. Its thread starts with the first listener and ends with the last; a
    listener whose client is slow is left out of the look until it has caught up, so nothing is
    dropped and nothing piles up.
    """

    def __init__(
        self,
        database: Database,
        *,
        poll_seconds: float = POLL_SECONDS,
        ping_seconds: float = PING_SECONDS,
        read_limit: int = READ_LIMIT,
        max_pending: int = MAX_PENDING,
        max_listeners: int = MAX_LISTENERS,
    ) -> None:
        """Begin with nobody who listens.

        Args:
            database: to be read.
            poll_seconds: between two looks.
            ping_seconds: longest silence of a stream; a comment breaks it, so that nobody on the
                way cuts the line.
            read_limit: most events in one look.
            max_pending: what a client may have still to take before it is left out.
            max_listeners: most streams and waits together.
        """
        self._database = database
        self._poll_seconds = poll_seconds
        self._ping_seconds = ping_seconds
        self._read_limit = read_limit
        self._max_pending = max_pending
        self._max_listeners = max_listeners
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._watches: set[Watch] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_round: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._look = threading.Event()
        self._is_stopped = False

    @property
    def is_reading(self) -> bool:
        """Is a thread polling at present?"""
        return self._thread is not None

    @property
    def n_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def require_room(self) -> None:
        """Refuse one listener more than there may be.

        Raises:
            UnavailableError: so many listen or wait already.
        """
        if len(self._streams) + len(self._watches) >= self._max_listeners:
            raise UnavailableError("too_many_listeners", "too many listen already; try again later")

    @contextlib.contextmanager
    def listen(self, job_id: str, *, after: int) -> Iterator[Stream]:
        """A stream of a job's events numbered above `after`, open as long as the block."""
        stream = Stream(job_id, after=after)
        with self._among(self._streams, stream):
            if self._next_round is None:
                self._go_round()
            yield stream

    async def wait_for_change(self, seen: JobVersion, *, seconds: float) -> None:
        """Return once a job has another version than was seen, is gone, or after so long.

        Args:
            seen: of a job that the caller may see.
            seconds: longest wait.
        """
        watch = Watch(seen)
        with self._among(self._watches, watch):
            await watch.wait(seconds)

    @contextlib.contextmanager
    def _among(self, listeners: set[ListenerT], one: ListenerT) -> Iterator[None]:
        self._loop = asyncio.get_running_loop()
        with self._lock:
            listeners.add(one)
            if self._is_stopped:
                one.hand_out([END])
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        self._look.set()
        try:
            yield
        finally:
            with self._lock:
                listeners.discard(one)
            self._look.set()

    def stop(self) -> None:
        """End every stream and the thread."""
        with self._lock:
            self._is_stopped = True
            thread = self._thread
        self._look.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        is_idle = False
        try:
            while not self._is_stopped and not (is_idle := self._is_idle()):
                if self._read_once() < self._read_limit:
                    self._look.wait(self._poll_seconds)
                    self._look.clear()
        finally:
            # Idle, this thread is no longer the reader: a newer one may have streams already.
            if not is_idle:
                self._end_streams()

    def _is_idle(self) -> bool:
        with self._lock:
            if self._streams or self._watches:
                return False
            self._thread = None
            return True

    def _end_streams(self) -> None:
        with self._lock:
            self._thread = None
            listeners: list[Stream | Watch] = [*self._streams, *self._watches]
        self._hand_out([(listener, [END]) for listener in listeners])

    def _hand_out(self, news: Sequence[News]) -> None:
        """To the event loop in one go: each way into it wakes it."""
        if news and self._loop is not None:
            self._loop.call_soon_threadsafe(_hand_out, news)

    def _read_once(self) -> int:
        with self._lock:
            streams, watches = list(self._streams), list(self._watches)
        news: list[News] = []
        n_events = 0
        try:
            with self._database.read() as connection:
                news += [(watch, [END]) for watch in _changed(connection, watches)]
                ready = [one for one in streams if one.n_pending <= self._max_pending]
                events = events_after(connection, _positions(ready), limit=self._read_limit)
            n_events = len(events)
            news += _offers(events, ready)
        except DdcalError as error:
            log.warning("events cannot be read just now: %s", error)
        self._hand_out(news)
        return n_events

    def _go_round(self) -> None:
        """A ping for whoever has long heard nothing, the end for who has listened long enough.

        By the event loop's clock: a database that hangs silences no stream.
        """
        now, pause = monotonic(), self._ping_seconds / 4
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            if stream.is_over:
                continue
            if now - stream.opened_at > MAX_STREAM_SECONDS:
                stream.hand_out([END])
            elif now - stream.spoken_at > self._ping_seconds - pause and stream.n_pending == 0:
                stream.hand_out([PING])
        loop = asyncio.get_running_loop()
        self._next_round = loop.call_later(pause, self._go_round) if streams else None


def _hand_out(news: Sequence[News]) -> None:
    for listener, told in news:
        listener.hand_out(told)


def _positions(streams: Sequence[Stream]) -> dict[str, int]:
    """The last event that all who listen to a job have seen."""
    positions: dict[str, int] = {}
    for stream in streams:
        seen = positions.get(stream.job_id, stream.position)
        positions[stream.job_id] = min(seen, stream.position)
    return positions


def _offers(events: Sequence[Event], streams: Sequence[Stream]) -> list[News]:
    """What of some events is new to which stream; each is put into words once."""
    offers: list[News] = []
    for job_id, news in groupby(events, key=lambda event: event.job_id):
        batch = list(news)
        told = [Told(_lines(event), is_last(event)) for event in batch]
        for stream in streams:
            if stream.job_id == job_id and stream.position < batch[-1].seq:
                first = next(k for k, event in enumerate(batch) if event.seq > stream.position)
                offers.append(stream.offered(told[first:], batch[-1].seq))
    return offers


def _changed(connection: Connection, watches: Sequence[Watch]) -> list[Watch]:
    """The waits that are over: their job has another version, or is gone."""
    if not watches:
        return []
    versions = versions_of(connection, {watch.seen.id for watch in watches})
    return [watch for watch in watches if versions.get(watch.seen.id) != watch.seen]


async def server_sent_events(
    reader: EventReader, job_id: str, *, after: int
) -> AsyncIterator[bytes]:
    """A text/event-stream: each event once, in order, until the job has ended.

    Args:
        reader: the process's reader.
        job_id: a job whose events the caller may see.
        after: the last number the client has.
    """
    with reader.listen(job_id, after=after) as stream:
        yield b"retry: %d\n\n" % RETRY_MILLISECONDS
        async for lines in stream.lines():
            yield lines


def is_last(event: Event) -> bool:
    """Does nothing follow this event?"""
    return event.type == STATE and event.data.get("state") in TERMINAL_STATES


def _lines(event: Event) -> bytes:
    data = json.dumps({**event.data, "created_at": rfc3339(event.created_at)})
    return f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode()
