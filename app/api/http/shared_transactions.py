"""Calls that come together are done together: by one thread, within one transaction.

For what is asked most. One call alone costs what it did; of many at once each costs little more
than its own statements, and they do not get in each other's way.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from app.shared.errors import UnavailableError
from app.shared.store.database import Connection

ANSWER_SECONDS = 40.0  # longer than any wait for a lock

T = TypeVar("T")
Work = Callable[[Connection], T]


@dataclass(frozen=True, kw_only=True)
class _Call(Generic[T]):
    prepare: Callable[[], Work[T]]
    answer: "asyncio.Future[T]"
    # The caller's, so that what its thread logs has the request's id.
    context: Context = field(default_factory=copy_context)


_Outcome = tuple[_Call[Any], object, BaseException | None]


class SharedTransactions:
    """Used from one event loop; who comes while a transaction lasts is in the next one.

    A queue and threads, as an executor's futures would cost more than the statements do.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Connection]],
        n_threads: int,
        *,
        n_together: int,
        harmless: tuple[type[Exception], ...] = (),
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Start the threads.

        Args:
            begin: opens a transaction, which ends with the block.
            n_threads: how many transactions there may be at once.
            n_together: most calls in one transaction.
            harmless: what a call may raise without its transaction being rolled back.
            answer_seconds: longest wait of a caller.
        """
        self._begin = begin
        self._n_together = n_together
        self._harmless = harmless
        self._answer_seconds = answer_seconds
        self._loop = asyncio.get_running_loop()
        self._is_stopped = False
        self._waiting: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(n_threads)]
        for thread in self._threads:
            thread.start()

    async def run(self, prepare: Callable[[], Work[T]]) -> T:
        """What a call gives, or raises, once its transaction has ended.

        Args:
            prepare: what needs no database; gives the rest of the call. That may be tried a
                second time, in a transaction of its own, when another call's has been rolled back.

        Raises:
            UnavailableError: the database does not answer; the call may be carried out yet.
        """
        if self._is_stopped:
            raise UnavailableError.of_database("the service goes down; try again")
        answer: asyncio.Future[T] = self._loop.create_future()
        patience = self._loop.call_later(self._answer_seconds, _give_up, answer)
        self._waiting.put(_Call(prepare=prepare, answer=answer))
        try:
            return await answer
        finally:
            patience.cancel()

    def stop(self) -> None:
        """End the threads, once they have done what was asked of them and is still waited for."""
        self._is_stopped = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (call := self._waiting.get()) is not None:
            calls = [call]
            while len(calls) < self._n_together and (more := self._next_waiting()) is not None:
                calls.append(more)
            self._loop.call_soon_threadsafe(_settle, self._outcomes(calls))

    def _next_waiting(self) -> _Call[Any] | None:
        """Who has come meanwhile; None for nobody."""
        try:
            call = self._waiting.get_nowait()
        except Empty:
            return None
        if call is None:
            self._waiting.put(None)  # the end, which comes after these
        return call

    def _outcomes(self, calls: Sequence[_Call[Any]]) -> list[_Outcome]:
        """Whatever is raised is told: nothing may end the thread that all others wait for."""
        ready, refused = [], []
        for call in calls:
            if call.answer.done():  # nobody waits for it any more, and nothing has been done
                continue
            try:
                ready.append((call, call.context.run(call.prepare)))
            except BaseException as error:  # noqa: BLE001  its caller's
                refused.append((call, None, error))
        return refused + self._together(ready)

    def _together(self, ready: Sequence[tuple[_Call[Any], Work[Any]]]) -> list[_Outcome]:
        """Results or errors; the error of one rolls all back, and then each is for itself."""
        if not ready:
            return []
        try:
            with self._begin() as connection:
                return [self._outcome(call, work, connection) for call, work in ready]
        except UnavailableError as error:
            # Whether a commit whose answer is lost has been done, nobody knows: not once more.
            return [(call, None, error) for call, _ in ready]
        except BaseException as error:  # noqa: BLE001  its caller's
            if len(ready) == 1:
                return [(ready[0][0], None, error)]
            return [outcome for one in ready for outcome in self._together([one])]

    def _outcome(self, call: _Call[Any], work: Work[Any], connection: Connection) -> _Outcome:
        try:
            return call, call.context.run(work, connection), None
        # Never harmless, though a DdcalError: it is the connection that has failed.
        except UnavailableError:
            raise
        except self._harmless as error:
            return call, None, error


def _settle(outcomes: Sequence[_Outcome]) -> None:
    """Give each its result or error, unless its client has gone."""
    for call, result, error in outcomes:
        if call.answer.done():
            continue
        if error is None:
            call.answer.set_result(result)
        # A future refuses StopIteration, and SystemExit or its like would end the event loop.
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            call.answer.set_exception(error)
        else:
            call.answer.set_exception(RuntimeError(f"a call has raised {error!r}"))


def _give_up(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(UnavailableError.of_database())
