"""What a supervisor knows of a run while its trainer works, and what its trainer's words mean."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from app.shared.engine.runs import RESUMED_FROM_STEP
from app.shared.store.job_records import Ending, Job
from ddcal_core.intake.job_messages import (
    Failed,
    JobError,
    Message,
    Note,
    Outputs,
    ProgressReport,
    Ready,
    Rejected,
    Stopped,
    Verdict,
)
from worker.supervisor.trainer_process import TrainerProcess

logger = logging.getLogger(__name__)

PROGRESS_EVENT_SECONDS = 5.0
"""Between two reports of a phase that are kept; less at first, so that short runs have some."""
EVENT_SHARE = 0.05
"""Of a run's time so far: what is let pass between two of them until then."""
MAX_NOTES = 100
MOST_WORDS = 300
RESUMED = "resumed"
# Errors that another attempt may escape, and up to which attempt it is tried; None: as all jobs.
RETRIED_ERRORS: Mapping[str, int | None] = {
    "trainer_crashed": None,
    "trainer_did_not_start": None,
    "worker_error": None,
    "stalled": None,
    "disk_full": 2,
    "host_oom": 2,
}


@dataclass
class Run:
    """What is known of a run while its trainer works.

    Attributes:
        clock: seconds, by which it is timed.
        stop: why it should stop: cancel, timeout, stall, start, memory or drain; None while it
            should not.
        misunderstood: what of its trainer's words was no message; None while all was.
        is_lost: whether its lease could not be prolonged in time; set by the watchdog's thread.
        verdict: the trainer's last word; None until it has come.
        notes: what users should know and is not yet written down.
        is_progress_new: whether there is progress that is not yet written down.
        heard_at: when its trainer last told of progress.
    """

    job: Job
    trainer: TrainerProcess
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    stop: str | None = None
    stop_asked: float = 0.0
    verdict: Verdict | None = None
    progress: dict[str, Any] | None = None
    is_progress_new: bool = False
    notes: list[dict[str, Any]] = field(default_factory=list)
    n_notes: int = 0
    heard_at: float = field(init=False)
    is_lost: bool = False
    misunderstood: str | None = None
    tried: float = field(init=False)
    event_phase: str | None = None
    event_at: float = 0.0
    phase: str | None = None
    phase_started: float = 0.0
    phase_first_step: int = 0

    def __post_init__(self) -> None:
        """It begins now; its claim was its first beat."""
        self.started = self.heard_at = self.tried = self.clock()

    def let_go(self, silent_seconds: float) -> None:
        """Give it up: without a beat for nearly a lease, the job may soon be somebody else's."""
        logger.warning("job %s: no beat for %.0f s, giving it up", self.job.id, silent_seconds)
        self.is_lost = True
        self.trainer.kill()

    @property
    def has_news(self) -> bool:
        """Is there something that users should see soon?"""
        return self.is_progress_new or bool(self.notes)

    def hear(self, message: Message) -> None:
        """Take a message of the trainer's."""
        match message:
            case Ready():
                # The check of uploads computes on none; None would mean that it still loads.
                self.trainer.device = message.device or "none"
            case ProgressReport():
                self.progress, self.is_progress_new = self._with_estimate(message), True
                self.heard_at = self.clock()
            case Note():
                self._take(message)
            case Outputs() | Rejected() | Failed() | Stopped():
                self.verdict = message
            case _:
                assert_never(message)

    def _take(self, told: Note) -> None:
        # Each becomes a row: a trainer that talks without end must not fill the database.
        if self.n_notes >= MAX_NOTES:
            return
        self.n_notes += 1
        note: dict[str, Any] = {"code": told.code, "message": told.message}
        if told.code == RESUMED and told.step is not None:
            note[RESUMED_FROM_STEP] = told.step
        self.notes.append(note)

    def ending(self, exit_words: str) -> Ending:
        """How it ended, for its attempt."""
        return Ending(
            reason=exit_words,
            peak_memory_bytes=self.trainer.peak_memory_bytes,
            cpu_seconds=self.trainer.cpu_seconds,
        )

    def is_retried_after(self, error_type: str) -> bool:
        """May another attempt escape this error?"""
        last = RETRIED_ERRORS.get(error_type, 0)
        return last is None or self.job.attempt < last

    def is_worth_an_event(self, now: float) -> bool:
        """Is the progress that is new also worth being kept in the job's history?"""
        pause = min(PROGRESS_EVENT_SECONDS, EVENT_SHARE * (now - self.started))
        is_due = self.phase != self.event_phase or now - self.event_at > pause
        return self.is_progress_new and is_due

    def written(self, now: float, *, n_notes: int, is_event: bool) -> None:
        """Note that all there was to tell, with so many notes, stands in the database."""
        self.is_progress_new = False
        del self.notes[:n_notes]
        if is_event:
            self.event_phase, self.event_at = self.phase, now

    def error(self, ending: Ending) -> JobError:
        """Why a run that has not brought results has failed."""
        if self.is_lost:
            message = "its worker could not prolong the lease in time, and gave it up"
            return JobError(type="worker_error", message=message)
        if self.stop == "timeout":
            limit = self.job.timeout_seconds
            return JobError(type="timeout", message=f"it ran for longer than {limit} seconds")
        if self.stop == "stall":
            message = "its trainer told of no progress for too long"
            return JobError(type="stalled", message=message)
        if self.stop == "start":
            message = "the trainer did not start: it was not ready in time"
            return JobError(type="trainer_did_not_start", message=message)
        if self.stop == "memory":
            held = self.trainer.memory_bytes or 0
            message = f"it held {held:,} bytes of memory, too many"
            return JobError(type="host_oom", message=message)
        if isinstance(self.verdict, Failed):
            return self.verdict.error
        if self.misunderstood is not None:
            message = f"the trainer was not understood: {self.misunderstood[:MOST_WORDS]}"
            return JobError(type="trainer_crashed", message=message)
        return JobError(type="trainer_crashed", message=f"the trainer {ending.reason}")

    def _with_estimate(self, told: ProgressReport) -> dict[str, Any]:
        """A trainer's report as users see it: the share done and the seconds left of a phase."""
        now, step, steps = self.clock(), told.step, told.steps
        if told.phase != self.phase:
            self.phase, self.phase_started, self.phase_first_step = told.phase, now, step
        # A phase gone on with from a checkpoint has not taken the steps before in this time.
        done = step - self.phase_first_step
        left = told.seconds_left
        if left is None and done > 0:
            left = (now - self.phase_started) / done * (steps - step)
        return {
            "phase": told.phase,
            "step": step,
            "steps": steps,
            "fraction": round(step / steps, 4) if steps else 1.0,
            "eta_seconds": None if left is None else round(left, 1),
            "values": told.values,
        }


def log_keys(job: Job) -> dict[str, object]:
    """What of a run each line logged of it says."""
    return {"request_id": job.request_id, "attempt": job.attempt, "fence": job.fence}
