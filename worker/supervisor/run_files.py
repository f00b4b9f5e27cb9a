"""The files of a run: scratch folder, log, checkpoint, snapshots, and what it takes over."""

import contextlib
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.shared.engine.checkpoints import CheckpointStore
from app.shared.engine.recipes import (
    Finished,
    Recipe,
    failed_alike,
    find_finished,
    finished_alike,
)
from app.shared.engine.snapshots import SnapshotStore
from app.shared.errors import DamagedFileError, UnavailableError
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.database import Database
from app.shared.store.job_records import Job
from app.shared.store.kinds import KINDS
from app.shared.store.verification import OnRead
from ddcal_core.intake.job_messages import JobLine, JobOutput
from ddcal_core.intake.sandbox.job_needs import paths_in
from worker.supervisor.recipes import computation_of
from worker.supervisor.reuse import Copy, copy_results

logger = logging.getLogger(__name__)


class RunFiles:
    """Where runs of one worker find and leave their files."""

    def __init__(self, database: Database, settings: Settings, store: ArtifactStore) -> None:
        self._database = database
        self._settings = settings
        self._store = store
        self._checkpoints = CheckpointStore(settings.checkpoint_folder)
        self._snapshots = SnapshotStore(settings.snapshot_folder)

    def job_line(self, job: Job, inputs: dict[str, Any], *, worker: str) -> JobLine:
        """What a trainer is told of its job; its scratch folder and log are there.

        Raises:
            OSError: they cannot be made.
            ValueError: an input lies where none may.
        """
        self._require_stored(paths_in(inputs))
        scratch, log_file = self._scratch(job), self._settings.log_folder / f"{job.id}.log"
        scratch.mkdir(parents=True, exist_ok=True)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("a") as log:
            log.write(f"--- attempt {job.attempt} on {worker}\n")
        return JobLine(
            kind=job.kind,
            computation=computation_of(job.kind, job.params),
            job_id=job.id,
            request_id=job.request_id,
            params=job.params,
            inputs=inputs,
            work_folder=scratch,
            log_file=log_file,
            threads=self._settings.n_threads,
            is_confined=self._settings.confine_jobs,
        )

    def foreign_output(self, job: Job, outputs: Sequence[JobOutput]) -> Path | None:
        """The first file of a run's outputs that is none of its scratch folder; None if all are.

        Asked once its process has ended: nobody can put a link in a file's place afterwards.
        """
        files = (file.path for output in outputs for file in output.files)
        return next((path for path in files if not _is_file_in(path, self._scratch(job))), None)

    def _require_stored(self, paths: Iterable[Path]) -> None:
        folders = (self._settings.artifact_folder, self._settings.upload_folder)
        for path in paths:
            # One that is gone is told of by who verifies it.
            if not any(_lies_in(path, folder) for folder in folders):
                raise ValueError(f"wanted an input among uploads and results, got {path}")

    def resumable(self, line: JobLine, job: Job, recipe: Recipe) -> JobLine:
        """The job line with what lets a run go on where another was.

        The other is an earlier attempt, or a failed job of the same recipe.
        """
        pause = self._settings.checkpoint_seconds
        line = line.model_copy(update={"recipe": recipe.digest, "checkpoint_seconds": pause})
        if KINDS[job.kind].keeps_snapshots:
            line = line.model_copy(update={"snapshots": self._snapshots.open(job)})
        if not KINDS[job.kind].keeps_checkpoint:
            return line
        path = self._checkpoints.open(job.id)
        if job.reuse and not path.exists():
            with self._database.read() as connection:
                alike = failed_alike(connection, job, recipe)
            taken = next((one for one in alike if self._checkpoints.take_over(one, job.id)), None)
            if taken is not None:
                self._snapshots.take_over(taken, job.id)
        return line.model_copy(update={"checkpoint": path})

    def copy_of_finished(self, job: Job, recipe: Recipe, *, on_read: OnRead) -> Copy | None:
        """The results of a finished job of the same recipe, taken over; None if there is none.

        One with a file that is damaged or gone is passed over.
        """
        with self._database.read() as connection:
            alike = finished_alike(connection, job, recipe)
        for job_id in alike:
            with self._database.read() as connection:
                finished = find_finished(connection, job, recipe, job_id)
            copy = None if finished is None else self._copy_of(finished, job, recipe, on_read)
            if copy is not None:
                return copy
        return None

    def _copy_of(
        self, finished: Finished, job: Job, recipe: Recipe, on_read: OnRead
    ) -> Copy | None:
        scratch = self._scratch(job)
        try:
            copy = copy_results(
                finished, job, recipe, store=self._store, scratch=scratch, on_read=on_read
            )
        except (DamagedFileError, FileNotFoundError, ValueError) as error:
            logger.warning("job %s: no results taken from %s: %s", job.id, finished.job_id, error)
            return None
        self._snapshots.take_over(finished.job_id, job.id)
        return copy

    def delete_scratch(self, job: Job) -> None:
        """Delete what a run had for itself."""
        shutil.rmtree(self._scratch(job), ignore_errors=True)

    def delete_lost_scratch(self, job: Job) -> None:
        """Delete what lost runs of a job have left; never a later run's: this may be a lost one."""
        for fence in range(job.fence):
            shutil.rmtree(self._settings.work_folder / f"{job.id}-{fence}", ignore_errors=True)

    def tidy(self) -> None:
        """Delete the checkpoints that no run will read."""
        with contextlib.suppress(UnavailableError), self._database.read() as connection:
            kept_bytes = self._settings.kept_checkpoint_bytes
            self._checkpoints.tidy(connection, kept_bytes=kept_bytes)

    def _scratch(self, job: Job) -> Path:
        return self._settings.work_folder / f"{job.id}-{job.fence}"


def _is_file_in(path: Path, folder: Path) -> bool:
    # One that is no regular file could keep us waiting for ever.
    return path.is_file() and _lies_in(path, folder)


def _lies_in(path: Path, folder: Path) -> bool:
    """Does it lie there, all links followed?"""
    return path.resolve().is_relative_to(folder.resolve())
