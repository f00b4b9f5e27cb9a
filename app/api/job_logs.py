"""What trainers have printed, read while they may still be writing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

from app.shared.store.job_records import Job

CHUNK_BYTES = 1 << 16
TAIL_BYTES = 4_000


def log_lines(folder: Path, job: Job, children: Sequence[Job]) -> Iterator[bytes]:
    """A job's log as it is now; of a pipeline each child's below a line that names it.

    Args:
        folder: where the logs lie, one file per job.
        job: whose log.
        children: the jobs of a pipeline; else none.

    Yields:
        Bytes of UTF-8 text; none when nothing has been printed.
    """
    yield from _content(folder / f"{job.id}.log")
    started = [(child.started_at, child) for child in children if child.started_at is not None]
    for _, child in sorted(started, key=lambda pair: pair[0]):
        yield f"== {child.role} {child.id}\n".encode()
        yield from _content(folder / f"{child.id}.log")


@dataclass(frozen=True, kw_only=True)
class LogEnd:
    """The last lines that a trainer has printed.

    Attributes:
        job: whose trainer.
        text: whole lines, unless the last one is longer than all that is shown.
        is_whole: whether there are no others.
    """

    job: Job
    text: str
    is_whole: bool


def log_end(folder: Path, makers: Sequence[Job]) -> LogEnd | None:
    """The end of the log of the job among some that began last; None before anything is printed."""
    started = [(job.started_at, job) for job in makers if job.started_at is not None]
    for _, job in sorted(started, key=lambda pair: pair[0], reverse=True):
        try:
            with (folder / f"{job.id}.log").open("rb") as file:
                n_bytes = file.seek(0, SEEK_END)
                file.seek(max(0, n_bytes - TAIL_BYTES))
                tail = file.read(TAIL_BYTES)
        except FileNotFoundError:
            continue
        is_whole = n_bytes <= TAIL_BYTES
        if not is_whole and b"\n" in tail[:-1]:
            tail = tail[tail.index(b"\n") + 1 :]
        return LogEnd(job=job, text=tail.decode(errors="replace"), is_whole=is_whole)
    return None


def _content(path: Path) -> Iterator[bytes]:
    """The bytes of a file up to its present end, so that a growing one comes to an end."""
    try:
        with path.open("rb") as file:
            left = path.stat().st_size
            while chunk := file.read(min(CHUNK_BYTES, left)):
                left -= len(chunk)
                yield chunk
    except FileNotFoundError:
        return
