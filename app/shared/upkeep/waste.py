"""What can go: one rule for each kind of waste, by which no run and no waiting job loses anything.

Looking takes no lock; what is found is looked at once more, under the locks named here, before it
goes:

    uploads         whose intake has ended or never began: under the file's lock, see http.uploads
    scratch folders of runs that are over: a run that has lost its job never gets it back
    checkpoints     that no run will read, see checkpoints: nor does a job that has ended
    leftovers       of the artifact store: the job's row is locked and not running, so that no run
                    can begin that puts a file first and writes its row after; and an hour old
    logs, snapshots of jobs that are gone, an hour old
    jobs, experts   past their keeping, see retention: by the same transaction that DELETE makes
    keys            of idempotent requests, by age

Leftovers, logs and snapshots of a job older than all that the database has stay: they may be
another database's. Scratch folders and checkpoints without a row go: nothing can use them any more.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.shared.engine.checkpoints import CheckpointStore
from app.shared.engine.deletion import delete_files, delete_job
from app.shared.engine.idempotency import forget_keys
from app.shared.engine.locks import locked_job
from app.shared.errors import ConflictError, NotFoundError
from app.shared.inputs.datasets import awaited_uploads
from app.shared.settings import Settings
from app.shared.store.database import Database, db_now
from app.shared.store.job_states import ACTIVE_STATES
from app.shared.store.tables import artifacts, idempotency_keys, jobs
from app.shared.upkeep.retention import DAY_SECONDS, PastJob, is_needed, past_experts, past_jobs

_BATCH = 500
_JOB_COLUMNS = tuple(jobs.c[name] for name in ("id", "state", "fence"))


@dataclass(frozen=True)
class Waste:
    """Something that can go.

    Attributes:
        name: of the file, folder or job.
        n_bytes: that its going frees.
        remove: makes sure that it still can go, and removes it; False where it cannot any more.
        n: how many things it is.
    """

    name: str
    n_bytes: int
    remove: Callable[[], bool]
    n: int = 1


def waste_by_rule(database: Database, settings: Settings) -> dict[str, Iterator[Waste]]:
    """What can go, found as it is asked for; nothing is changed by looking."""
    return {
        "ended jobs past their keeping": _past_jobs(database, settings),
        "experts past their keeping": _past_experts(database, settings),
        "uploads that no job waits for": _uploads(database, settings),
        "scratch folders of runs that are over": _scratch_folders(database, settings),
        "checkpoints that no run will read": _checkpoints(database, settings),
        "files that no row names": _leftovers(database, settings),
        "logs of jobs that are gone": _logs(database, settings),
        "snapshots of jobs that are gone": _snapshots(database, settings),
        "old keys of requests": _keys(database, settings),
    }


def _past_jobs(database: Database, settings: Settings) -> Iterator[Waste]:
    with database.read() as connection:
        found = past_jobs(connection, settings)
    for job in found:
        remove = partial(_remove_job, database, settings, job, is_needed=is_needed)
        yield Waste(job.id, job.n_bytes, remove)


def _past_experts(database: Database, settings: Settings) -> Iterator[Waste]:
    with database.read() as connection:
        found = past_experts(connection, settings)
    for job in found:
        remove = partial(_remove_job, database, settings, job, is_needed=lambda *_: False)
        yield Waste(job.id, job.n_bytes, remove)


def _remove_job(
    database: Database,
    settings: Settings,
    job: PastJob,
    *,
    is_needed: Callable[[Connection, str], bool],
) -> bool:
    """Delete a job as DELETE would; False where an unended job needs it, or `is_needed` says so."""
    deleted: list[str] = []
    with contextlib.suppress(ConflictError, NotFoundError), database.write() as connection:
        # Who would name it waits from here on, and then finds it gone.
        locked_job(connection, job.owner_id, job.id)
        if not is_needed(connection, job.id):
            deleted = delete_job(connection, job.owner_id, job.id)
    for job_id in deleted:
        delete_files(settings, job_id)
    return bool(deleted)


def _keys(database: Database, settings: Settings) -> Iterator[Waste]:
    age = settings.kept_key_days * DAY_SECONDS
    old = select(func.count()).where(idempotency_keys.c.created_at < db_now(-age))
    with database.read() as connection:
        n = connection.execute(old).scalar_one()
    if n:
        yield Waste("keys", 0, partial(_remove_keys, database, age), n)


def _remove_keys(database: Database, age: float) -> bool:
    with database.write() as connection:
        return forget_keys(connection, age) > 0


def _uploads(database: Database, settings: Settings) -> Iterator[Waste]:
    for path in sorted(settings.upload_folder.glob("upload_*")):
        with _held(path) as is_held:
            n_bytes = _size(path)
            is_left = is_held and not _is_awaited(database, path)
        if is_left:
            yield Waste(path.name, n_bytes, partial(_remove_upload, database, path))


def _remove_upload(database: Database, path: Path) -> bool:
    with _held(path) as is_held:
        # Only now: whoever held the lock has written the row before letting go.
        if not is_held or _is_awaited(database, path):
            return False
        path.unlink()
        return True


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether a file is there and locked: whoever writes it holds it until a job waits for it."""
    try:
        file = path.open("rb")
    except OSError:
        yield False
        return
    with file:
        try:
            # Whatever process held it and was killed holds it no longer.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _is_awaited(database: Database, path: Path) -> bool:
    with database.read() as connection:
        return path.name in awaited_uploads(connection)


def _scratch_folders(database: Database, settings: Settings) -> Iterator[Waste]:
    for paths in _batches(_below(settings.work_folder, "job_*-*")):
        ids = {path: path.name.rpartition("-")[0] for path in paths}
        # First the folder, then its row: a run makes its folder after it has been claimed.
        rows = _rows_of(database, ids.values())
        for path in paths:
            row = rows.get(ids[path])
            at_work = None if row is None or row.state not in ACTIVE_STATES else row.fence
            # No folder ends in None: of a job that is gone, or not at work, every one goes.
            if path.name != f"{ids[path]}-{at_work}":
                yield Waste(path.name, _size(path), partial(_remove_folder, path))


def _checkpoints(database: Database, settings: Settings) -> Iterator[Waste]:
    store = CheckpointStore(settings.checkpoint_folder)
    with database.read() as connection:
        found = store.unneeded(connection, kept_bytes=settings.kept_checkpoint_bytes)
    for job_id, n_bytes in found.items():
        yield Waste(job_id, n_bytes, partial(_remove_folder, settings.checkpoint_folder / job_id))


def _leftovers(database: Database, settings: Settings) -> Iterator[Waste]:
    for folders in _batches(_below(settings.artifact_folder, "job_*")):
        rows = _rows_of(database, [folder.name for folder in folders])
        oldest = _oldest_job(database)
        for folder in folders:
            row = rows.get(folder.name)
            if row is None and folder.name > oldest and _is_old_folder(folder, settings):
                yield Waste(folder.name, _size(folder), partial(_remove_folder, folder))
            elif row is not None and row.state not in ACTIVE_STATES:
                with database.read() as connection:
                    spare = _spare_files(connection, folder, settings)
                remove = partial(_remove_spare, database, settings, folder)
                if spare:
                    yield Waste(folder.name, sum(map(_size, spare)), remove, len(spare))


def _spare_files(connection: Connection, folder: Path, settings: Settings) -> list[Path]:
    """Old files in a job's folder of the artifact store that none of its rows names."""
    old = [path for path in _entries(folder) if _age(path) > settings.leftover_seconds]
    rows = connection.execute(select(artifacts.c.sha256).where(artifacts.c.job_id == folder.name))
    named = set(rows.scalars())
    return [path for path in old if path.name not in named]


def _remove_spare(database: Database, settings: Settings, folder: Path) -> bool:
    with database.write() as connection:
        idle = select(jobs.c.id).where(jobs.c.id == folder.name, jobs.c.state.not_in(ACTIVE_STATES))
        if connection.execute(idle.with_for_update(skip_locked=True)).one_or_none() is None:
            return False
        # Nobody can claim it until this commits: what no row names now, none will name.
        for path in _spare_files(connection, folder, settings):
            path.unlink(missing_ok=True)
        return True


def _logs(database: Database, settings: Settings) -> Iterator[Waste]:
    for paths in _batches(_below(settings.log_folder, "job_*.log")):
        rows = _rows_of(database, [path.stem for path in paths])
        oldest = _oldest_job(database)
        for path in paths:
            is_left = path.stem not in rows and path.stem > oldest
            if is_left and _age(path) > settings.leftover_seconds:
                yield Waste(path.name, _size(path), partial(_remove_file, path))


def _snapshots(database: Database, settings: Settings) -> Iterator[Waste]:
    for folders in _batches(_below(settings.snapshot_folder, "job_*")):
        rows = _rows_of(database, [folder.name for folder in folders])
        oldest = _oldest_job(database)
        for folder in folders:
            is_left = folder.name not in rows and folder.name > oldest
            if is_left and _age(folder) > settings.leftover_seconds:
                yield Waste(folder.name, _size(folder), partial(_remove_folder, folder))


def _remove_file(path: Path) -> bool:
    path.unlink()
    return True


def _remove_folder(path: Path) -> bool:
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _below(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[k : k + _BATCH] for k in range(0, len(paths), _BATCH))


def _rows_of(database: Database, job_ids: Iterable[str]) -> dict[str, Row[Any]]:
    wanted = select(*_JOB_COLUMNS).where(jobs.c.id.in_(list(job_ids)))
    with database.read() as connection:
        return {row.id: row for row in connection.execute(wanted)}


def _oldest_job(database: Database) -> str:
    """The first id the database has; above all others where it has none."""
    with database.read() as connection:
        return connection.execute(select(func.min(jobs.c.id))).scalar_one() or "~"


def _is_old_folder(folder: Path, settings: Settings) -> bool:
    return all(_age(path) > settings.leftover_seconds for path in (folder, *_entries(folder)))


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):  # another copy was faster
        return list(folder.iterdir())
    return []


def _age(path: Path) -> float:
    """Seconds since a file was written, renamed or linked; 0 when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        # Not the time of its content: a file taken over from another job keeps that.
        return time.time() - path.stat().st_ctime
    return 0.0


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder; what goes meanwhile does not count."""
    below = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    n_bytes = 0
    for one in (path, *below):
        with contextlib.suppress(FileNotFoundError):
            n_bytes += one.stat().st_size if one.is_file() else 0
    return n_bytes
