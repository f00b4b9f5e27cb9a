"""How a job's process talks to the supervisor that started it: one JSON line in, JSON lines out.

The process keeps the stdout it was given for itself and points stdout and stderr at the job's log,
so that nothing printed by a library can break the conversation.
"""

import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ddcal_core.errors import CoreError, DivergedError, InvalidDataError, StoppedError

_LOG = logging.getLogger("ddcal.job")


class JobChannel:
    """The lines to the supervisor, on a private copy of the stdout the process was given."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message and flush it.

        Raises:
            ValueError: a number in it is not finite: JSON has no word for it.
            BrokenPipeError: the supervisor is gone.
        """
        line = json.dumps(message, allow_nan=False, separators=(",", ":"))
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()


def take_stdout() -> JobChannel:
    """Keep stdout for messages; whatever is printed from now on goes to stderr."""
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return JobChannel(stream)


def print_into(log_file: Path) -> None:
    """Point stdout and stderr, of this process and its libraries, at the end of a log file."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def read_job(stdin: BinaryIO) -> dict[str, Any] | None:
    """Read the one line that describes the job; None when the supervisor closed the channel."""
    line = stdin.readline()
    if not line.strip():
        return None
    job: dict[str, Any] = json.loads(line)
    return job


def answer_job(
    job: Mapping[str, Any], channel: JobChannel, work: Callable[[], Mapping[str, Any]]
) -> int:
    """Do a job, all that it prints going into its log, and say how it has ended.

    Args:
        job: as read.
        channel: to the supervisor.
        work: does it; gives the last word of a job that comes to its end, raises StoppedError
            where it has stopped because it was asked to.

    Returns:
        The exit status: 1 where it has failed.
    """
    print_into(Path(job["log_file"]))
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        channel.send(work())
    except StoppedError:
        _LOG.info("stopped, as asked")
        channel.send({"type": "stopped"})
    except Exception as error:  # noqa: BLE001  the process's edge: whatever it is, say so and end
        _LOG.exception("failed")
        channel.send({"type": "failed", "error": describe_failure(error)})
        return 1
    return 0


def describe_failure(error: BaseException) -> dict[str, str]:
    """Give the type and message that a failed job shows its user.

    The one table from what a computation raises to the service's error types. A surprise is
    `internal`, and its text stays in the log.
    """
    kind = _failure_type(error)
    if kind == "internal":
        return {"type": kind, "message": "an error in the service itself; the job's log has it"}
    if kind == "host_oom":
        return {"type": kind, "message": str(error) or "the job needs more memory than there is"}
    return {"type": kind, "message": str(error) or type(error).__name__}


def _failure_type(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, DivergedError):
        return "nan_loss"
    if isinstance(error, InvalidDataError):
        return "invalid_data"
    if isinstance(error, CoreError | ValueError):
        return "user_error"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk_full"
    # torch reports a failed allocation as a RuntimeError, told apart by its text alone.
    if isinstance(error, RuntimeError) and "CUDA out of memory" in text:
        return "cuda_oom"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return "host_oom"
    return "internal"
