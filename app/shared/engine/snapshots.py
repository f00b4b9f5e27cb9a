"""Snapshots: small pictures of what a run learns, by step, while it runs and after it has ended.

Each run of a job writes into a folder of its own, named by its fence: a run that has lost its job
and does not know yet replaces nothing of its successor's. What is shown of a job is put together
when it is asked for: a run's first picture stands in place of all that earlier runs have at its
step and beyond, as a later attempt goes over these steps again, or has begun anew.

They are for people to look at, and belong to no result: whoever takes over a job's results, or goes
on from its checkpoint, gets its pictures by links, as those of a run before its first.
"""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.shared.errors import NotFoundError
from app.shared.store.job_records import Job

MAX_BYTES = 2 << 20
"""Of one: what is larger was not written by a trainer of ours."""
MOST_FILES = 1_000
"""Of one run that are looked at."""
TAKEN_OVER = "0"
"""The folder of pictures taken over; fences begin at 1."""
_NAME = re.compile(r"(0|[1-9][0-9]{0,8})\.png")
_FENCE = re.compile(r"0|[1-9][0-9]{0,17}")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One picture.

    Attributes:
        step: after which it was made; 0 for what a run begins from.
        n_bytes: of its file.
    """

    step: int
    n_bytes: int
    path: Path


class SnapshotStore:
    """Pictures below one folder, which API and workers share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, run: Job) -> Path:
        """Make a run's folder."""
        folder = self._folder / run.id / str(run.fence)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def shown(self, job_id: str) -> list[Snapshot]:
        """What there is of a job, by rising step; of one without any, nothing."""
        kept: list[Snapshot] = []
        for folder in self._runs(job_id):
            own = sorted(_snapshots_in(folder), key=lambda one: one.step)
            if own:
                kept = [one for one in kept if one.step < own[0].step] + own
        return kept

    def read(self, job_id: str, step: int) -> bytes:
        """The bytes of one picture, a PNG.

        Raises:
            NotFoundError: there is none of that step.
        """
        found = next((one for one in self.shown(job_id) if one.step == step), None)
        content = b"" if found is None else _read(found.path)
        if not content.startswith(_PNG):
            raise NotFoundError("snapshot_not_found", f"job {job_id} has no picture of step {step}")
        return content

    def take_over(self, from_job_id: str, job_id: str) -> None:
        """Give a job the pictures of another; either can be deleted and the other keeps its own.

        A disk that does not let it costs pictures, and nothing else.
        """
        with contextlib.suppress(OSError):
            shown = self.shown(from_job_id)
            folder = self._folder / job_id / TAKEN_OVER
            if shown:
                folder.mkdir(parents=True, exist_ok=True)
            for one in shown:
                with contextlib.suppress(FileExistsError):
                    os.link(one.path, folder / one.path.name)

    def delete(self, job_id: str) -> None:
        """Delete all of a job's; of a job without any, nothing."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def _runs(self, job_id: str) -> list[Path]:
        """The folders of a job's runs, the first one first."""
        with contextlib.suppress(FileNotFoundError):
            folders = [
                one for one in (self._folder / job_id).iterdir() if _FENCE.fullmatch(one.name)
            ]
            return sorted(folders, key=lambda one: int(one.name))
        return []


def _snapshots_in(folder: Path) -> Iterator[Snapshot]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in islice(entries, MOST_FILES):
            if (named := _NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                yield Snapshot(step=int(named[1]), n_bytes=size, path=Path(entry.path))


def _read(path: Path) -> bytes:
    """A file's bytes, if it is one: a trainer may have put a link in its place, or a pipe."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if stat.S_ISREG(about.st_mode) and about.st_size <= MAX_BYTES:
                return file.read(MAX_BYTES)
    return b""
