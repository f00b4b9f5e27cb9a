"""What trainers have printed, read while they may still be writing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from app.shared.store.job_records import Job

CHUNK_BYTES = 1 << 16


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
