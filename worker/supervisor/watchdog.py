"""Ends a trainer whose supervisor has not been heard of in time, even one that waits in a call."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_SECONDS = 1.0


class Watchdog:
    """A thread with a clock of its own.

    What looks at the time between two calls is late by a call that does not return, as one to a
    database that is there and does not answer.
    """

    def __init__(
        self, patience_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch over nothing yet.

        Args:
            patience_seconds: longest time between two signs of life.
            clock: seconds; looked at once a second at least.
        """
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._heard_at = 0.0
        self._bite: Callable[[float], None] | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def on_guard(self, bite: Callable[[float], None], *, since: float) -> Iterator[None]:
        """Watch as long as the block; once `bite` has been called, no more.

        Args:
            bite: called in the watchdog's thread when nothing has been heard for too long, with
                the seconds of silence.
            since: when the first sign of life was given, by the clock.
        """
        with self._changed:
            self._bite, self._heard_at = bite, since
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._bite = None

    def hear(self, at: float) -> None:
        """Take a sign of life, given at this time of the clock."""
        with self._changed:
            self._heard_at = at

    def _watch(self) -> None:
        with self._changed:
            while True:
                silent = self._clock() - self._heard_at
                if self._bite is None:
                    self._changed.wait()
                elif silent < self._patience_seconds:
                    self._changed.wait(min(self._patience_seconds - silent, LOOK_SECONDS))
                else:
                    bite, self._bite = self._bite, None
                    with contextlib.suppress(Exception):  # later runs are to be guarded, too
                        bite(silent)
