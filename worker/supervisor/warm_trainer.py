"""The trainer that is started before there is a job for it: loading torch takes seconds."""

from collections.abc import Callable

from worker.supervisor.trainer_process import TrainerProcess


class WarmTrainer:
    """Holds one trainer at most, which waits for a job."""

    def __init__(
        self,
        start: Callable[[], TrainerProcess],
        *,
        has_not_started: Callable[[TrainerProcess], bool],
        clock: Callable[[], float],
    ) -> None:
        """Hold none yet.

        Args:
            start: starts one.
            has_not_started: whether one is not ready, and never will be.
            clock: seconds, by which starts are timed.
        """
        self._start = start
        self._has_not_started = has_not_started
        self._clock = clock
        self._held: TrainerProcess | None = None

    def keep(self) -> None:
        """Start one, unless one waits."""
        if self._held is None:
            self._held = self._new()

    def take(self) -> TrainerProcess:
        """The one that waits, or a new one where that has died or does not answer."""
        trainer, self._held = self._held, None
        if trainer is None:
            return self._new()
        if trainer.is_alive() and not self._has_not_started(trainer):
            return trainer
        trainer.end(0)
        return self._new()

    def put_back(self, trainer: TrainerProcess) -> None:
        """Hold the one that was taken, and not needed."""
        self._held = trainer

    def holds(self, trainer: TrainerProcess) -> bool:
        """Does it wait for a job?"""
        return trainer is self._held

    def close(self) -> None:
        """End the one that waits."""
        if self._held is not None:
            self._held.end(0)
            self._held = None

    def _new(self) -> TrainerProcess:
        trainer = self._start()
        trainer.started = self._clock()
        return trainer
