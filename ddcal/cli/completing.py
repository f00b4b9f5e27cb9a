"""What a shell offers for a half-typed word: jobs' ids, asked of the service in no time."""

import itertools

from ddcal.client import Client
from ddcal.errors import DdcalError

_SECONDS = 1.0
_MOST = 30


def complete_jobs(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs whose id begins like that, each with what it is; none without a service."""
    try:
        with Client(timeout=_SECONDS, max_retries=0) as client:
            newest = [job.record for job in itertools.islice(client.jobs(parent="none"), _MOST)]
    except (DdcalError, OSError):
        return []
    return [(job.id, f"{job.title} {job.state}") for job in newest if job.id.startswith(incomplete)]
