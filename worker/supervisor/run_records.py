"""What a run leaves in the database: its end, its results, its error.

Every write carries the run's fence: a run that has lost its job changes nothing.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.shared.engine import recipes, runs
from app.shared.engine.jobs import tell_start
from app.shared.engine.locks import lock_family
from app.shared.engine.recipes import Recipe
from app.shared.errors import FencedOutError, UnavailableError
from app.shared.inputs.datasets import accept_dataset, awaited_uploads, reject_dataset
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import record_artifact, record_result
from app.shared.store.database import Connection, Database
from app.shared.store.job_records import Ending, Job
from app.shared.store.kinds import INTAKE
from app.shared.store.tables import DATASET_CONTENTS
from app.shared.store.verification import OnRead
from ddcal_core.intake.job_messages import (
    JobError,
    JobOutput,
    OutputFile,
    Outputs,
    Problem,
    Rejected,
)
from worker.supervisor.run_state import Run

logger = logging.getLogger(__name__)


def write_start(connection: Connection, job: Job, recipe: Recipe | None) -> None:
    """Tell that a run has begun, and the recipe of its results where it has one.

    Raises:
        FencedOutError: the run has lost its job.
    """
    tell_start(connection, job)
    if recipe is not None:
        runs.note_recipe(connection, job, recipe.digest, recipe.ids)


def write_claim(connection: Connection, job: Job, recipe: Recipe) -> bool:
    """Whether a run has given its job back, to wait for another job of its recipe that is run.

    Else it is on record that this run computes the recipe, if nobody has before.

    Raises:
        FencedOutError: the run has lost its job.
    """
    recipes.hold(connection, recipe)
    other_id = recipes.running_alike(connection, job, recipe)
    if other_id is not None and runs.wait_for_another(connection, job, other_id) is not None:
        return True
    runs.note_recipe(connection, job, recipe.digest, recipe.ids)
    return False


class RunRecords:
    """Writes down how runs of one worker have ended."""

    def __init__(self, database: Database, settings: Settings, store: ArtifactStore) -> None:
        self._database = database
        self._settings = settings
        self._store = store

    def conclude(self, run: Run, ending: Ending, *, on_read: OnRead) -> None:
        """Write the end that a run has come to.

        Args:
            run: whose trainer has ended.
            ending: how.
            on_read: called after each MiB that is stored, so that the run goes on beating.
        """
        # A cancel wins over results that came meanwhile, results over a drain that came too late.
        if run.stop == "cancel":
            self.write(run, lambda connection: runs.end_cancelled(connection, run.job, ending))
        elif isinstance(run.verdict, Outputs):
            self._record_outputs(run, run.verdict.outputs, ending, on_read)
        elif isinstance(run.verdict, Rejected):
            self._record_rejection(run, run.verdict.problem, ending)
        elif run.stop == "drain":
            self.write(run, lambda connection: runs.release(connection, run.job, ending))
        else:
            self.fail(run, run.error(ending), ending)
        if run.job.kind == INTAKE:
            self._delete_upload(run.job)

    def fail(self, run: Run, error: JobError, ending: Ending) -> None:
        """End a run that came to nothing, by its trainer's fault or the supervisor's own."""
        pause = self._settings.retry_seconds if run.is_retried_after(error.type) else None
        logger.warning("job %s: %s: %s", run.job.id, error.type, error.message)
        why = error.model_dump()
        self.write(
            run,
            lambda connection: runs.fail(connection, run.job, why, ending, retry_seconds=pause),
        )

    def write_results(self, run: Run, record: Callable[[Connection], None], ending: Ending) -> None:
        """Write results and a run's end in one transaction, or that it was cancelled."""
        try:
            self.write(run, record)
        except FencedOutError:
            # A cancel came between the last beat and now: it wins, and no result is kept.
            self.write(run, lambda connection: runs.end_cancelled(connection, run.job, ending))

    def write(self, run: Run, change: Callable[[Connection], object]) -> None:
        """One transaction, tried again while the database is away and the lease may still hold."""
        while True:
            try:
                with self._database.write() as connection:
                    change(connection)
            except UnavailableError:
                if run.is_lost:
                    raise
                time.sleep(self._settings.heartbeat_seconds / 4)
            else:
                return

    def _record_outputs(
        self,
        run: Run,
        outputs: Sequence[JobOutput],
        ending: Ending,
        on_read: OnRead,
    ) -> None:
        # Bytes first, then the rows: a row never points at nothing.
        stored = [self._put_files(run, output.files, on_read) for output in outputs]

        def record(connection: Connection) -> None:
            # Before the rows, which hold on to the job's: a cancel locks in this order, too.
            lock_family(connection, run.job.id)
            for output, files in zip(outputs, stored, strict=True):
                resource_id = _record_output(connection, run.job, output)
                for file in files:
                    record_artifact(connection, run.job, resource_id, **file)
            runs.succeed(connection, run.job, ending)

        self.write_results(run, record, ending)

    def _put_files(
        self, run: Run, files: Sequence[OutputFile], on_read: OnRead
    ) -> list[dict[str, Any]]:
        def go_on() -> None:
            if run.is_lost:  # nobody wants what is left to be copied
                raise FencedOutError("fenced_out", f"job {run.job.id} was given up on the way")
            on_read()

        rows = []
        for file in files:
            stored = self._store.put(run.job.id, file.path, on_read=go_on)
            rows.append(
                {
                    "name": file.name,
                    "media_type": file.media_type,
                    "sha256": stored.sha256,
                    "n_bytes": stored.n_bytes,
                }
            )
        return rows

    def _record_rejection(self, run: Run, problem: Problem, ending: Ending) -> None:
        error = {"type": "invalid_data", "message": problem.detail}

        # One transaction: no data set is rejected by a job that has not failed.
        def record(connection: Connection) -> None:
            if run.job.upload_content in DATASET_CONTENTS:
                reject_dataset(connection, run.job, problem.model_dump())
            runs.fail(connection, run.job, error, ending)

        self.write(run, record)

    def _delete_upload(self, job: Job) -> None:
        """Delete what has been checked, once no further attempt will read it."""
        with self._database.read() as connection:
            awaited = awaited_uploads(connection)
        if job.params["upload"] not in awaited:
            (self._settings.upload_folder / job.params["upload"]).unlink(missing_ok=True)


def _record_output(connection: Connection, job: Job, output: JobOutput) -> str:
    if output.resource == "dataset":
        return accept_dataset(connection, job, output.values["facts"])
    if output.resource == "export":  # a file more of a result that is there, as its job needs it
        return str(job.params["result"])
    return record_result(connection, job, output.resource, output.values, name=output.name)
