"""Checkpoints: what a long run needs to go on, in a folder of its job's own that outlives attempts.

There is one file per job, overwritten as the job goes on. Two trainers may write it at once: the
supervisor of a frozen machine has lost its job, and its trainer does not know yet while the
successor's is at work. This does no harm, without a lock:

- each writes to a temporary name of its own, syncs and renames, so that the file is at any moment
  one trainer's, whole;
- what is written at a step is decided by the job's recipe and that step alone (but for the seconds
  spent so far), so that it does not matter whose it is: the worst is an older step than there has
  been, and progress lost;
- a file that cannot be read, or is of another recipe, is not gone on from.

A run that is never heard of again leaves at most one temporary file, cleared away by a later run or
with the folder. For the same reasons a failed job's file can be shared with a job of the same
recipe by a hard link.

Experts, whose files are large, are the exception: they are appended to one file, under a lock that
ends with its process (see worker.trainer.kinds.experts).
"""

import contextlib
import logging
import os
import shutil
import time
from pathlib import Path

from sqlalchemy import Connection, select

from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.tables import jobs

logger = logging.getLogger(__name__)

FILE_NAME = "checkpoint.safetensors"
STALE_SECONDS = 3600


class CheckpointStore:
    """Checkpoints below one folder, which all workers share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, job_id: str) -> Path:
        """Make a job's folder, clear away what lost runs have left half written; give the file.

        What has been written to within the hour stays: another run may still be at it.
        """
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            if leftover.name != FILE_NAME and _age(leftover) > STALE_SECONDS:
                leftover.unlink(missing_ok=True)
        return folder / FILE_NAME

    def take_over(self, from_job_id: str, job_id: str) -> bool:
        """Give a job the checkpoint that another of its recipe has left, unless it has its own."""
        with contextlib.suppress(OSError):
            os.link(self._folder / from_job_id / FILE_NAME, self.open(job_id))
            return True
        return False

    def delete(self, job_id: str) -> None:
        """Delete a job's checkpoint; of a job without one, nothing."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def unneeded(self, connection: Connection, *, kept_bytes: int) -> dict[str, int]:
        """The jobs whose checkpoints no run will read, and the bytes of each.

        Those of jobs that are still to run stay. Of failed jobs the newest stay, for another job of
        the same recipe, as long as they are no more than `kept_bytes` in all. Those of all others
        that have ended, and of jobs that are gone, go.
        """
        # First the folders, then the states: a folder is made for a job that is there.
        folders = {path.name: path for path in self._folders()}
        if not folders:
            return {}
        rows = connection.execute(select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(folders)))
        states = {row.id: row.state for row in rows}
        sizes = {name: _size(path) for name, path in folders.items()}
        n_kept, unneeded = 0, {}
        # Ids sort by time: the newest first.
        for name in sorted(folders, reverse=True):
            # A job that is gone counts as one that has ended and will not be gone on from.
            state = states.get(name, "expired")
            if state not in TERMINAL_STATES:
                continue
            n_kept += sizes[name] if state == "failed" else 0
            if state != "failed" or n_kept > kept_bytes:
                unneeded[name] = sizes[name]
        return unneeded

    def tidy(self, connection: Connection, *, kept_bytes: int) -> None:
        """Delete the checkpoints that no run will read."""
        unneeded = self.unneeded(connection, kept_bytes=kept_bytes)
        for name in unneeded:
            self.delete(name)
        if unneeded:
            logger.info("checkpoints: %d deleted, %d bytes", len(unneeded), sum(unneeded.values()))

    def _folders(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.exists() else []


def _age(path: Path) -> float:
    """Seconds since a file was written to; 0 when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    """Bytes of the files in a folder that may be deleted meanwhile."""
    n_bytes = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            n_bytes += path.stat().st_size
    return n_bytes
