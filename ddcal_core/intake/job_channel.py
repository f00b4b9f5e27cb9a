"""How a job's process talks to the supervisor that started it: one JSON line in, JSON lines out.

The process keeps the stdout it was given for itself and points stdout and stderr at the job's log,
so that nothing printed by a library can break the conversation.
"""

import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ddcal_core.errors import CoreError, DivergedError, InvalidDataError, StoppedError
from ddcal_core.intake.job_messages import Failed, JobError, JobLine, Message, Stopped, Verdict
from ddcal_core.intake.sandbox.confinement import confine, facilities
from ddcal_core.intake.sandbox.job_needs import needs_of

_LOG = logging.getLogger("ddcal.job")


class JobChannel:
    """The lines to the supervisor, on a private copy of the stdout the process was given."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: Message) -> None:
        """Write one message and flush it.

        Raises:
            ValueError: a number in it is not finite: JSON has no word for it.
            BrokenPipeError: the supervisor is gone.
        """
        self._stream.write(message.encoded())
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


def read_job(stdin: BinaryIO) -> JobLine | None:
    """Read the one line that describes the job; None when the supervisor closed the channel.

    Raises:
        ValueError: it describes no job.
    """
    line = stdin.readline()
    if not line.strip():
        return None
    return JobLine.model_validate_json(line)


def answer_job(job: JobLine, channel: JobChannel, work: Callable[[], Verdict]) -> int:
    """Do a job, confined to it, all that it prints going into its log; say how it has ended.

    Args:
        job: as read.
        channel: to the supervisor.
        work: does it; gives the last word of a job that comes to its end, raises StoppedError
            where it has stopped because it was asked to.

    Returns:
        The exit status: 1 where it has failed.
    """
    print_into(job.log_file)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        _confine_to(job)
        channel.send(work())
    except StoppedError:
        _LOG.info("stopped, as asked")
        channel.send(Stopped())
    except Exception as error:  # noqa: BLE001  the process's edge: whatever it is, say so and end
        _LOG.exception("failed")
        channel.send(Failed(error=describe_failure(error)))
        return 1
    return 0


def _confine_to(job: JobLine) -> None:
    # A supervisor has made it; a job line by hand need not have.
    job.work_folder.mkdir(parents=True, exist_ok=True)
    if not job.is_confined:
        _LOG.warning("not confined: DDCAL_CONFINE_JOBS is off")
        return
    for what in confine(needs_of(job), facilities()):
        _LOG.warning("not kept from: %s", what)


def describe_failure(error: BaseException) -> JobError:
    """Give what a failed job shows its user.

    The one table from what a computation raises to the service's error types. A surprise is
    `internal`, and its text stays in the log.
    """
    kind = _failure_type(error)
    message = str(error) or type(error).__name__
    if kind == "internal":
        message = "an error in the service itself; the job's log has it"
    elif kind == "host_oom":
        message = str(error) or "the job needs more memory than there is"
    return JobError(type=kind, message=message)


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
