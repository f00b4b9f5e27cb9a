"""One run of one job: claim it, give it to a trainer, beat while it works, write down its end.

The supervisor is the only one that speaks to both sides: to the database, with the run's fence on
every write, and to the trainer, through a pipe.
"""

import errno
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.shared.engine import runs
from app.shared.engine.recipes import Recipe
from app.shared.errors import (
    ConflictError,
    DamagedFileError,
    FencedOutError,
    NotFoundError,
    UnavailableError,
)
from app.shared.inputs.run_inputs import inputs_of
from app.shared.json_logs import belonging_to
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.database import Connection, Database
from app.shared.store.disk import has_room
from app.shared.store.job_records import Ending, Job
from app.shared.store.kinds import INTAKE, RARE_KINDS
from ddcal_core.intake.job_messages import JobError, Outputs
from worker.supervisor.recipes import recipe_of
from worker.supervisor.run_files import RunFiles
from worker.supervisor.run_records import RunRecords, write_claim, write_start
from worker.supervisor.run_state import Run, log_keys
from worker.supervisor.time_limits import has_not_started, limit_passed
from worker.supervisor.trainer_process import TrainerProcess, start_trainer
from worker.supervisor.warm_trainer import WarmTrainer
from worker.supervisor.watchdog import Watchdog

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """The process that a supervisor is at home in.

    Attributes:
        name: for leases and attempts.
        is_draining: whether it is going down.
        give_sign: says that the supervisor's loop turns; called in every turn.
    """

    name: str
    is_draining: Callable[[], bool]
    give_sign: Callable[[], None] = lambda: None


class Supervisor:
    """Works off one queue, one job at a time, with a warm trainer waiting for the next."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        queue: str,
        worker: WorkerProcess,
        new_trainer: Callable[[str], TrainerProcess] = start_trainer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the first trainer.

        Args:
            database: of this process alone.
            settings: of the service.
            queue: whose jobs to claim.
            worker: where it is at home.
            new_trainer: starts a process for one job of a queue, or of a rare kind.
            clock: seconds, by which starts, runs and beats are timed.
        """
        self._database = database
        self._settings = settings
        self._queue = queue
        self._worker = worker
        self._clock = clock
        self._store = ArtifactStore(settings.artifact_folder)
        self._files = RunFiles(database, settings, self._store)
        self._records = RunRecords(database, settings, self._store)
        self._max_memory_bytes = settings.max_trainer_bytes
        # The trainer has to be gone before the lease is, and the job may be somebody else's.
        patience = settings.lease_seconds - settings.heartbeat_seconds / 2
        self._watchdog = Watchdog(patience, clock=clock)
        self._new_trainer = new_trainer
        self._warm = WarmTrainer(
            lambda: new_trainer(queue),
            has_not_started=lambda trainer: has_not_started(trainer, settings, clock()),
            clock=clock,
        )
        self._warm.keep()

    def work(self) -> int:
        """Run jobs until the queue has none left; tells how many."""
        n_jobs = 0
        self._worker.give_sign()
        while not self._worker.is_draining() and self._has_room():
            claimed_at = self._clock()
            job = self._claim(is_first=n_jobs == 0)
            if job is None:
                break
            with belonging_to(worker=self._worker.name, job_id=job.id, **log_keys(job)):
                self._run(job, claimed_at)
            n_jobs += 1
        self._files.tidy()
        return n_jobs

    def _claim(self, *, is_first: bool) -> Job | None:
        """The next job of the queue; None where there is none, or no database to ask."""
        lease = self._settings.lease_seconds
        try:
            with self._database.write() as connection:
                job = runs.claim_next(
                    connection, queue=self._queue, worker=self._worker.name, lease_seconds=lease
                )
                if job is not None and is_first:
                    runs.ring_for_the_next(connection, job)
                return job
        except UnavailableError as error:
            logger.warning("no job is claimed, the bell will be rung again: %s", error)
            return None

    def _has_room(self) -> bool:
        """Is there room for what a job writes? Else it waits, and the bell is rung again."""
        if has_room(self._settings):
            return True
        logger.warning("no job is begun: less than %d bytes free", self._settings.min_free_bytes)
        return False

    def close(self) -> None:
        """End the trainer that waits for a job."""
        self._warm.close()

    def _run(self, job: Job, claimed_at: float) -> None:
        logger.info("job %s (%s): attempt %d, fence %d", job.id, job.kind, job.attempt, job.fence)
        run = Run(job, self._trainer_of(job), self._clock)
        try:
            # The lease runs since the claim, and taking a trainer may have taken a while.
            with self._watchdog.on_guard(run.let_go, since=claimed_at):
                self._work_off(run)
        except (FencedOutError, UnavailableError) as error:
            logger.warning("job %s: %s", job.id, error)
        finally:
            # A run that took over another's results has handed its trainer back, unused.
            if not self._warm.holds(run.trainer):
                run.trainer.end(0)
            self._files.delete_scratch(job)

    def _trainer_of(self, job: Job) -> TrainerProcess:
        if job.kind not in RARE_KINDS:
            return self._warm.take()
        # None waits for it with all of torch in memory.
        trainer = self._new_trainer(job.kind)
        trainer.started = self._clock()
        return trainer

    def _work_off(self, run: Run) -> None:
        """Bring a run to its end, the supervisor's own errors to the job."""
        try:
            if not self._begin(run):
                return
            self._listen_until(run, lambda: run.verdict is not None)
            self._await_exit(run)
            self._conclude(run, run.trainer.end(0))
        except (NotFoundError, ConflictError) as error:
            self._records.fail(run, JobError(type="user_error", message=error.detail), Ending())
        except DamagedFileError as error:
            self._records.fail(run, JobError(type="damaged_input", message=error.detail), Ending())
        except OSError as error:
            kind = "disk_full" if error.errno == errno.ENOSPC else "worker_error"
            told = JobError(type=kind, message=f"the worker met an error: {error}")
            self._records.fail(run, told, Ending())
        except (FencedOutError, UnavailableError):
            raise
        except Exception as error:
            # A lease would end before anybody is told, and what is wrong here is so for the next.
            logger.exception("job %s: the worker's own error", run.job.id)
            name = type(error).__name__
            message = f"the worker met an error of its own, {name}: its log says more"
            self._records.fail(run, JobError(type="worker_error", message=message), Ending())

    def _begin(self, run: Run) -> bool:
        """Set a run's trainer to work; False where another job's results stand for its own."""
        with self._database.read() as connection:
            inputs = inputs_of(connection, run.job, self._settings, self._store)
        line = self._files.job_line(run.job, inputs.given, worker=self._worker.name)
        recipe = self._recipe(run, inputs.given)
        if recipe is not None:
            if self._waits_for_another(run, recipe) or self._is_reused(run, recipe):
                return False
            line = self._files.resumable(line, run.job, recipe)
        inputs.verify(self._store, lambda: self._beat(run))
        run.trainer.send(line)
        # The next one loads torch, which takes seconds, while this one computes.
        self._warm.keep()
        self._records.write(run, lambda connection: write_start(connection, run.job, recipe))
        self._files.delete_lost_scratch(run.job)
        return True

    def _recipe(self, run: Run, inputs: Mapping[str, Any]) -> Recipe | None:
        """The run's recipe; None of a check, an export or a comparison, or of a dead trainer."""
        if run.job.kind == INTAKE:
            return None
        # A trainer that is still loading does not know yet what it computes on.
        self._listen_until(run, lambda: run.trainer.device is not None)
        device, threads = run.trainer.device, self._settings.n_threads
        if device is None or run.job.kind in RARE_KINDS:
            return None
        return recipe_of(run.job.kind, run.job.params, inputs, threads=threads, device=device)

    def _waits_for_another(self, run: Run, recipe: Recipe) -> bool:
        """Whether somebody else computes the same just now, and the run has given its job back."""
        if not run.job.reuse or run.stop is not None:
            return False
        waits = False

        def ask(connection: Connection) -> None:
            nonlocal waits
            waits = write_claim(connection, run.job, recipe)

        self._records.write(run, ask)
        if waits:
            self._warm.put_back(run.trainer)
        return waits

    def _is_reused(self, run: Run, recipe: Recipe) -> bool:
        """Whether a finished job of the same recipe was found, and the run has ended with it."""
        if not run.job.reuse or run.stop is not None:
            return False
        copy = self._files.copy_of_finished(run.job, recipe, on_read=lambda: self._beat(run))
        if copy is None:
            return False
        ending = Ending(reason=f"took over the results of {copy.job_id}")

        def record(connection: Connection) -> None:
            write_start(connection, run.job, recipe)
            copy.record(connection, run.job)
            runs.note(connection, run.job, copy.as_note())
            runs.succeed(connection, run.job, ending, reused_from=copy.job_id)

        self._records.write_results(run, record, ending)
        if run.stop is None:  # it has not been asked to end, and waits for the next job
            self._warm.put_back(run.trainer)
        return True

    def _listen_until(self, run: Run, is_enough: Callable[[], bool]) -> None:
        """Follow a trainer until it has said enough, has died, or has to be killed."""
        while run.trainer.is_open and not is_enough():
            try:
                for message in run.trainer.messages(LOOK_SECONDS):
                    run.hear(message)
            except ValueError as error:
                logger.warning("job %s: its trainer is not understood: %s", run.job.id, error)
                run.misunderstood = str(error)
                run.trainer.end(0)
            self._beat(run)
            self._look_at_clock(run)
            self._look_at_memory(run)
            if run.is_lost or self._is_overdue(run):
                return

    def _beat(self, run: Run, *, is_forced: bool = False) -> None:
        """Prolong the lease when it is time, with the progress since; learn of a cancel."""
        self._worker.give_sign()
        if run.is_lost:  # it would be prolonged for a job that nobody works on
            return
        now = self._clock()
        # People wait for news; silence is written only as often as the lease needs it.
        pause = PROGRESS_SECONDS if run.has_news else self._settings.heartbeat_seconds
        if now - run.tried < pause and not is_forced:
            return
        run.tried = now
        progress = run.progress if run.is_progress_new else None
        is_event, notes = run.is_worth_an_event(now), list(run.notes)
        try:
            with self._database.write() as connection:
                stop = runs.beat(
                    connection,
                    run.job,
                    lease_seconds=self._settings.lease_seconds,
                    progress=progress,
                    is_event=is_event,
                )
                for note in notes:
                    runs.note(connection, run.job, note)
        except UnavailableError:
            return  # the watchdog has a clock of its own
        run.written(now, n_notes=len(notes), is_event=is_event)
        self._watchdog.hear(now)
        if stop is not None:
            self._ask_to_stop(run, stop)

    def _look_at_clock(self, run: Run) -> None:
        now = self._clock()
        if run.stop is None and has_not_started(run.trainer, self._settings, now):
            run.stop = "start"
            run.trainer.end(0)
            return
        why = limit_passed(run, self._settings, now)
        if why is not None:
            self._ask_to_stop(run, why)
        if self._worker.is_draining():
            self._ask_to_stop(run, "drain")

    def _look_at_memory(self, run: Run) -> None:
        """Kill what would take the machine's memory from everybody else."""
        run.trainer.measure()
        if (run.trainer.memory_bytes or 0) > self._max_memory_bytes:
            run.stop = "memory"
            run.trainer.end(0)

    def _ask_to_stop(self, run: Run, why: str) -> None:
        if run.stop is None:
            logger.info("job %s: asked to stop (%s)", run.job.id, why)
            run.stop, run.stop_asked = why, self._clock()
            run.trainer.ask_to_stop()

    def _is_overdue(self, run: Run) -> bool:
        grace = self._settings.stop_grace_seconds
        return run.stop is not None and self._clock() - run.stop_asked > grace

    def _await_exit(self, run: Run) -> None:
        """Give a trainer that has said its last word the time to end, and go on beating."""
        # One that closed its pipe without a last word is dying: only its status is left to hear.
        grace = self._settings.stop_grace_seconds if run.verdict else 0.2
        deadline = time.monotonic() + grace
        while run.trainer.is_alive() and time.monotonic() < deadline:
            self._beat(run)
            time.sleep(LOOK_SECONDS)

    def _conclude(self, run: Run, exit_words: str) -> None:
        ending = run.ending(exit_words)
        if isinstance(run.verdict, Outputs):
            self._require_own(run, run.verdict)
        # Notes are written with a beat, and no other comes.
        if run.notes:
            self._beat(run, is_forced=True)
        self._records.conclude(run, ending, on_read=lambda: self._beat(run))

    def _require_own(self, run: Run, told: Outputs) -> None:
        """Take back the last word of a trainer that gives away what is not its own."""
        foreign = self._files.foreign_output(run.job, told.outputs)
        if foreign is not None:
            logger.warning("job %s: its trainer names %s as a result", run.job.id, foreign)
            run.verdict, run.misunderstood = None, "it names a file that is not its own"
