"""Events as they happen (server-sent events), and waits for a change of a job.

One reader a process looks for all of them, however many listen or wait.
"""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby
from time import monotonic
from typing import TypeVar

from app.api.schemas import rfc3339
from app.shared.database import Connection, Database
from app.shared.errors import DdcalError, UnavailableError
from app.shared.events import STATE, Event, events_after, versions_of
from app.shared.job_records import TERMINAL_STATES

POLL_SECONDS = 0.5
PING_SECONDS = 15.0
MAX_STREAM_SECONDS = 3600.0
RETRY_MILLISECONDS = 3000
READ_LIMIT = 1000
MAX_PENDING = 2000
MAX_LISTENERS = 2000

log = logging.getLogger(__name__)

ListenerT = TypeVar("ListenerT", "Stream", "Watch")


class Stream:
    """One listener: where it stands, and what it has still to send."""

    def __init__(self, job_id: str, *, after: int, loop: asyncio.AbstractEventLoop) -> None:
        self.job_id = job_id
        self.position = after
        self._loop = loop
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        # Two counts, each written by one thread alone: the reader's, the event loop's.
        self._n_offered = 0
        self._n_taken = 0

    @property
    def n_pending(self) -> int:
        """How many events its client has still to take."""
        return self._n_offered - self._n_taken

    def offer(self, events: Sequence[Event]) -> None:
        """Take from the reader's thread what is new to this stream."""
        for event in events:
            if event.seq > self.position:
                self.position = event.seq
                self._n_offered += 1
                self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    def end(self) -> None:
        """Say from the reader's thread that nothing more will come."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def next(self) -> Event | None:
        """The next event; None when the reader has stopped."""
        event = await self._queue.get()
        self._n_taken += 1
        return event


class Watch:
    """One wait for a job to have other versions, its own and its children's, than were seen."""

    def __init__(
        self, job_id: str, *, seen: tuple[int, int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.job_id = job_id
        self._seen = seen
        self._loop = loop
        self._is_over = asyncio.Event()

    def compare(self, now: tuple[int, int] | None) -> None:
        """Take from the reader's thread the present versions; None of a job that is gone."""
        if now != self._seen:
            self.end()

    def end(self) -> None:
        """Say from the reader's thread that there is nothing more to wait for."""
        self._loop.call_soon_threadsafe(self._is_over.set)

    async def wait(self, seconds: float) -> None:
        """Return once it is over, or after so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_over.wait(), seconds)


class EventReader:
    """Polls the database for the new events of every job that somebody listens to or waits for.

    Its thread starts with the first listener and ends with the last; a listener whose client is
    slow is left out of the look until it has caught up, so nothing is dropped and nothing piles up.
    """

    def __init__(
        self,
        database: Database,
        *,
        poll_seconds: float = POLL_SECONDS,
        read_limit: int = READ_LIMIT,
        max_pending: int = MAX_PENDING,
        max_listeners: int = MAX_LISTENERS,
    ) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._read_limit = read_limit
        self._max_pending = max_pending
        self._max_listeners = max_listeners
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._watches: set[Watch] = set()
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
        stream = Stream(job_id, after=after, loop=asyncio.get_running_loop())
        with self._among(self._streams, stream):
            yield stream

    async def wait_for_change(self, job_id: str, *, seen: tuple[int, int], seconds: float) -> None:
        """Return once a job has other versions than were seen, is gone, or after so long.

        Args:
            job_id: a job that the caller may see.
            seen: its version, and the sum of its children's.
            seconds: longest wait.
        """
        watch = Watch(job_id, seen=seen, loop=asyncio.get_running_loop())
        with self._among(self._watches, watch):
            await watch.wait(seconds)

    @contextlib.contextmanager
    def _among(self, listeners: set[ListenerT], one: ListenerT) -> Iterator[None]:
        with self._lock:
            listeners.add(one)
            if self._is_stopped:
                one.end()
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
        for listener in listeners:
            listener.end()

    def _read_once(self) -> int:
        with self._lock:
            streams = [one for one in self._streams if one.n_pending <= self._max_pending]
            watches = list(self._watches)
        try:
            with self._database.read() as connection:
                _look_for_changes(connection, watches)
                return self._offer_news(connection, streams)
        except DdcalError as error:
            log.warning("events cannot be read just now: %s", error)
            return 0

    def _offer_news(self, connection: Connection, streams: Sequence[Stream]) -> int:
        positions: dict[str, int] = {}
        for stream in streams:
            seen = positions.get(stream.job_id, stream.position)
            positions[stream.job_id] = min(seen, stream.position)
        events = events_after(connection, positions, limit=self._read_limit)
        for job_id, news in groupby(events, key=lambda event: event.job_id):
            batch = list(news)
            for stream in streams:
                if stream.job_id == job_id:
                    stream.offer(batch)
        return len(events)


def _look_for_changes(connection: Connection, watches: Sequence[Watch]) -> None:
    if not watches:
        return
    versions = versions_of(connection, {watch.job_id for watch in watches})
    for watch in watches:
        watch.compare(versions.get(watch.job_id))


async def server_sent_events(
    reader: EventReader, job_id: str, *, after: int, ping_seconds: float = PING_SECONDS
) -> AsyncIterator[str]:
    """The lines of a text/event-stream: each event once, in order, until the job has ended.

    Args:
        reader: the process's reader.
        job_id: a job whose events the caller may see.
        after: the last number the client has.
        ping_seconds: longest silence; a comment breaks it, so that nobody cuts the line.
    """
    closes_at = monotonic() + MAX_STREAM_SECONDS
    with reader.listen(job_id, after=after) as stream:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        while monotonic() < closes_at:
            try:
                event = await asyncio.wait_for(stream.next(), ping_seconds)
            except TimeoutError:
                yield ": ping\n\n"
                continue
            if event is None:
                return
            yield _lines(event)
            if is_last(event):
                return


def is_last(event: Event) -> bool:
    """Does nothing follow this event?"""
    return event.type == STATE and event.data.get("state") in TERMINAL_STATES


def _lines(event: Event) -> str:
    data = {**event.data, "created_at": rfc3339(event.created_at)}
    return f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(data)}\n\n"
