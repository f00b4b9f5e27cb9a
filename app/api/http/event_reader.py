"""One reader a process, which looks for the events and the changes that its listeners wait for."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby
from time import monotonic
from typing import TypeVar

from app.api.http.event_stream import END, FIRST_LINES, PING, News, Stream, Watch, as_told
from app.shared.engine.events import Event, events_after
from app.shared.engine.versions import JobVersion, versions_of
from app.shared.errors import DdcalError, UnavailableError
from app.shared.store.database import Connection, Database

POLL_SECONDS = 0.5
PING_SECONDS = 15.0
MAX_STREAM_SECONDS = 3600.0
READ_LIMIT = 1000
MAX_PENDING = 2000
MAX_LISTENERS = 2000

log = logging.getLogger(__name__)

ListenerT = TypeVar("ListenerT", "Stream", "Watch")


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
            # Whoever comes after the thread has ended the others is ended here.
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
                # A look that was cut off at its limit is followed by another at once.
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
        # Rounds a quarter apart, a ping a quarter early: no silence is longer than it may be.
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
    for listener, texts in news:
        listener.hand_out(texts)


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
        texts = [as_told(event) for event in batch]
        for stream in streams:
            if stream.job_id == job_id and stream.position < batch[-1].seq:
                first = next(k for k, event in enumerate(batch) if event.seq > stream.position)
                offers.append(stream.offered(texts[first:], batch[-1].seq))
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
        yield FIRST_LINES
        async for lines in stream.lines():
            yield lines
