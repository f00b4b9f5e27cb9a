"""Showing a job until it has ended, and saying how."""

from ddcal.cli.output import complain, say
from ddcal.errors import JobFailedError
from ddcal.handles import Job
from ddcal.records import SUCCEEDED


def watched(job: Job) -> bool:
    """Show a job until it has ended, then say how; whether all of it succeeded."""
    try:
        job.wait(progress=True)
    except JobFailedError as error:
        say(str(error))
        return False
    say(f"{job.id} {job.state}")
    if job.record.error is not None:
        say(f"  {job.record.error}")
    return job.state == SUCCEEDED


def watched_from_afar(job: Job) -> bool:
    """As `watched`, for a job that goes on when this command is interrupted."""
    try:
        return watched(job)
    except KeyboardInterrupt:
        complain(
            f"interrupted; the job goes on. See it: ddcal watch {job.id}; stop it: ddcal cancel "
            f"{job.id}"
        )
        raise
