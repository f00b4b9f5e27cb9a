"""Deleting jobs that have ended, with all that hangs on them: the rows first, then the files."""

import shutil
from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from app.shared.engine.checkpoints import CheckpointStore
from app.shared.engine.locks import locked_job
from app.shared.engine.snapshots import SnapshotStore
from app.shared.errors import ConflictError
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.kinds import EXPORT
from app.shared.store.tables import DATASET_CONTENTS, job_deps, jobs


def delete_job(connection: Connection, owner_id: str, job_id: str) -> list[str]:
    """Delete an ended job with its results, their exports, attempts and events.

    A pipeline goes with its children.

    Returns:
        The ids of the jobs deleted: their files can go once this has committed.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has not ended, is part of a pipeline, or an unended job needs it.
    """
    job = locked_job(connection, owner_id, job_id)
    if job.upload_content in DATASET_CONTENTS:
        raise ConflictError(
            "job_of_dataset", f"job {job_id} checked upload {job.dataset}: delete that instead"
        )
    if job.parent_id is not None:
        raise ConflictError(
            "job_in_pipeline", f"job {job_id} is part of {job.parent_id}: delete that one"
        )
    if not job.is_terminal:
        raise ConflictError(
            "job_not_ended", f"job {job_id} is {job.state}: cancel it first, or wait for its end"
        )
    # Locked like the job itself, so that none is named by a submission that has not committed yet.
    children = select(jobs.c.id).where(jobs.c.parent_id == job_id).order_by(jobs.c.id)
    children = children.with_for_update()
    ids = [job_id, *connection.execute(children).scalars()]
    ids += _exports_of(connection, ids)
    delete_rows(connection, ids)
    return ids


def _exports_of(connection: Connection, ids: Sequence[str]) -> Sequence[str]:
    """The ended jobs that have written results of these in other formats."""
    exports = select(jobs.c.id).join(job_deps, job_deps.c.job_id == jobs.c.id)
    exports = exports.where(
        job_deps.c.needs_job_id.in_(ids),
        jobs.c.kind == EXPORT,
        jobs.c.state.in_(TERMINAL_STATES),
    )
    return connection.execute(exports.order_by(jobs.c.id).with_for_update(of=jobs)).scalars().all()


def delete_rows(connection: Connection, ids: Sequence[str]) -> None:
    """Delete ended jobs and all that hangs on them.

    Raises:
        ConflictError: a job that has not ended needs one of them.
    """
    waiting = select(jobs.c.id).join(job_deps, job_deps.c.job_id == jobs.c.id)
    waiting = waiting.where(
        job_deps.c.needs_job_id.in_(ids),
        job_deps.c.job_id.not_in(ids),
        jobs.c.state.not_in(TERMINAL_STATES),
    )
    user = connection.execute(waiting.limit(1)).scalar_one_or_none()
    if user is not None:
        raise ConflictError("job_needed", f"job {user}, which has not ended, needs {ids[0]}")
    # All else that hangs on a job goes with its row, by ON DELETE CASCADE; this has none.
    connection.execute(delete(job_deps).where(job_deps.c.needs_job_id.in_(ids)))
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))


def delete_files(settings: Settings, job_id: str) -> None:
    """Delete all files of a job whose row is gone; of one that never had any, nothing."""
    ArtifactStore(settings.artifact_folder).delete_job(job_id)
    CheckpointStore(settings.checkpoint_folder).delete(job_id)
    SnapshotStore(settings.snapshot_folder).delete(job_id)
    (settings.log_folder / f"{job_id}.log").unlink(missing_ok=True)
    # A scratch folder is named by job and fence: each attempt may have left one.
    for folder in settings.work_folder.glob(f"{job_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)
