"""The generated Python client against a running service: submit, poll, download.

python use_client.py ADDRESS KEY
"""

import hashlib
import sys
import time

from ddcal_api import AuthenticatedClient
from ddcal_api.api.artifacts import download_artifact
from ddcal_api.api.jobs import get_job, list_job_events, submit_job
from ddcal_api.api.results import list_distilled_sets
from ddcal_api.models import (
    DistilledSetPage,
    DistillJob,
    DistillParams,
    DistillRequest,
    DmSpec,
    EventPage,
    JobState,
    ProblemBody,
)

LEFT = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}


def ended(client: AuthenticatedClient, job: DistillJob) -> DistillJob:
    """A job once it has ended."""
    while job.state not in LEFT:
        time.sleep(1)
        seen = get_job.sync(job.id, client=client)
        assert isinstance(seen, DistillJob), seen
        job = seen
    return job


def distilled(client: AuthenticatedClient) -> DistillJob:
    """A tiny job, submitted and succeeded."""
    tiny = DmSpec(method="dm", images_per_class=1, iterations=2, width=4, depth=1, batch_real=4)
    asked = DistillRequest(
        kind="distill", params=DistillParams(dataset="digits", distill=tiny), reuse=False
    )
    job = submit_job.sync(client=client, body=asked)
    assert isinstance(job, DistillJob), job
    assert isinstance(job.params.distill, DmSpec)
    assert job.params.distill.width == 4
    job = ended(client, job)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def main(address: str, key: str) -> None:
    """A tiny distilled set, and all of its files."""
    client = AuthenticatedClient(base_url=address, token=key, raise_on_unexpected_status=True)
    with client:
        job = distilled(client)
        events = list_job_events.sync(job.id, client=client)
        assert isinstance(events, EventPage), events
        made = list_distilled_sets.sync(client=client, job_id=job.id)
        assert isinstance(made, DistilledSetPage), made
        (one,) = made.items
        assert (one.details.method, one.details.images_per_class) == ("dm", 1)
        for artifact in one.artifacts:
            answer = download_artifact.sync_detailed(artifact.id, client=client)
            assert hashlib.sha256(answer.content).hexdigest() == artifact.sha256, artifact.name
        nowhere = get_job.sync("job_" + "0" * 26, client=client)
        assert isinstance(nowhere, ProblemBody), nowhere
        assert nowhere.code == "job_not_found"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
