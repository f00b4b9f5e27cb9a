"""What a job is when it is submitted, when it is read, and when a run of it ends."""

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app.shared.store.job_states import TERMINAL_STATES, JobState
from app.shared.store.kinds import INTAKE, NO_QUEUE, Kind
from app.shared.store.tables import jobs
from ddcal_core.specs.uploads import UploadContent

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of jobs, as it stood when it was read; see tables.py for the columns."""

    id: str
    owner_id: str
    kind: Kind
    state: JobState
    params: dict[str, Any]
    dataset: str | None
    parent_id: str | None
    role: str | None
    queue: str
    priority: int
    timeout_seconds: int | None
    stall_seconds: int | None
    not_before_at: datetime | None
    expires_at: datetime | None
    attempt: int
    max_attempts: int
    reuse: bool
    recipe: str | None
    reused_from: str | None
    retry_of: str | None
    request_id: str | None
    name: str | None
    tags: dict[str, str] | None
    notes: str | None
    method: str | None
    images_per_class: int | None
    mask_ratio: float | None
    fence: int
    stop_requested: str | None
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    version: int
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        """Has it ended, for good?"""
        return self.state in TERMINAL_STATES

    @property
    def upload_content(self) -> UploadContent | None:
        """What the upload holds that it checks; None of a job that checks none."""
        if self.kind != INTAKE:
            return None
        content: UploadContent = self.params.get("content", "images")
        return content


class _Clock:
    """Gives numbers that rise, even within one millisecond of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def tick(self) -> int:
        # 48 bits of milliseconds and 82 random ones: 26 characters of 5 bits.
        fresh = (time.time_ns() // 1_000_000) << 82 | secrets.randbits(82)
        with self._lock:
            # Where the clock stands or goes back: still rising, by a step that nobody can guess.
            self._last = max(fresh, self._last + 1 + secrets.randbits(40))
            return self._last


_clock = _Clock()
_LAST_MILLISECOND = 2**48 - 1


def new_id(prefix: str) -> str:
    """A fresh id: `prefix`, then 26 characters that sort by time and cannot be guessed."""
    return _id_of(prefix, _clock.tick())


def first_id(prefix: str, time: datetime) -> str:
    """The id before all that are made from a time on, and after all that were made before it."""
    return _id_of(prefix, min(max(round(time.timestamp() * 1000), 0), _LAST_MILLISECOND) << 82)


def _id_of(prefix: str, number: int) -> str:
    digits = (ID_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
    return f"{prefix}_{''.join(digits)}"


_NOT_IN_ROW = frozenset({"needs", "waits_for", "start_at"})


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to be: what submission knows of it.

    Attributes:
        dataset: name of the data set it reads, if any.
        needs: ids of the jobs that have to succeed before it.
        waits_for: ids of the jobs that have to end before it, however they do.
        queue: who may claim it; a pipeline has none.
        start_at: not to be started before.
        expires_at: not to be started after.
        timeout_seconds: longest running time of an attempt.
        stall_seconds: longest time without progress; None for the settings' own.
        retry_of: the ended job that this one repeats.
        request_id: of the submission, for logs.
        reuse: may the results of a finished job of the same recipe stand for its own?
        name, tags, notes: see `descriptions`.
    """

    kind: Kind
    params: Mapping[str, Any]
    dataset: str | None = None
    queue: str = NO_QUEUE
    role: str | None = None
    priority: int = 0
    timeout_seconds: int | None = None
    stall_seconds: int | None = None
    start_at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int = 3
    reuse: bool = True
    retry_of: str | None = None
    request_id: str | None = None
    name: str | None = None
    tags: Mapping[str, str] | None = None
    notes: str | None = None
    needs: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: new_id("job"))

    def columns(self) -> dict[str, Any]:
        """What of its row stands here."""
        params = dict(self.params)
        values = {**vars(self), **_told_apart_by(params), "params": params}
        values["not_before_at"] = self.start_at
        return {name: value for name, value in values.items() if name not in _NOT_IN_ROW}


def _told_apart_by(params: Mapping[str, Any]) -> dict[str, Any]:
    """What lists of jobs are filtered by: method, images a class, share masked while distilling."""
    distill, source = params.get("distill") or {}, params.get("training_set") or {}
    return {
        "method": distill.get("method"),
        "images_per_class": distill.get("images_per_class", source.get("images_per_class")),
        "mask_ratio": (distill.get("mask") or {}).get("ratio"),
    }


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended, for its attempt.

    Attributes:
        reason: in words ("killed by signal 9").
        peak_memory_bytes: most memory the trainer held, where known.
        cpu_seconds: processor time the trainer took, where known.
    """

    reason: str | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None


JOB_COLUMNS = tuple(jobs.c[name] for name in Job.__dataclass_fields__)


def job_of(row: Row[Any]) -> Job:
    """A row that begins with JOB_COLUMNS, as a Job."""
    return Job(**dict(zip(Job.__dataclass_fields__, row, strict=False)))
