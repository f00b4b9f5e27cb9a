"""A kill -9 in the middle of a job: it still ends, once, with its attempts listed."""

import os
import signal

import psutil
import pytest

from ddcal.client import Client
from tests.services import TINY_DISTILL, running_service
from tests.waiting import until

# Seconds of computing, so that there is a middle.
JOB = {
    "kind": "distill",
    "params": {"dataset": "digits", "distill": {**TINY_DISTILL, "iterations": 400}},
    # Each victim is to be killed at work, not to find another's results.
    "reuse": False,
}
LEASE_SECONDS = 10


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that notices a lost worker within seconds."""
    settings = {
        "DDCAL_LEASE_SECONDS": str(LEASE_SECONDS),
        "DDCAL_HEARTBEAT_SECONDS": "1",
        "DDCAL_TRAINER_THREADS": "1",
    }
    with running_service(tmp_path_factory.mktemp("kill"), **settings) as running:
        yield running


def busy_trainer(service, job_id):
    """The trainer that computes the job: the one that writes its log."""
    for child in psutil.Process(service.process.pid).children(recursive=True):
        if any(file.path.endswith(f"{job_id}.log") for file in child.open_files()):
            return child.pid
    raise AssertionError("no trainer computes the job")


@pytest.mark.parametrize(
    ("victim", "outcomes"),
    [
        (busy_trainer, ["failed", "succeeded"]),
        (lambda service, _: service.child("-Q gpu"), ["lost", "succeeded"]),
        (lambda service, _: service.child("app.server api"), ["succeeded"]),
    ],
    ids=["trainer", "worker", "api"],
)
def test_job_survives(service, victim, outcomes):
    """The killed part's run is listed as it ended, and the job has one result."""
    with Client(service.url) as client:
        job = client.submit(JOB)

        def is_in_the_middle():
            progress = job.refresh().record.progress
            return progress is not None and progress.step > 20

        until(is_in_the_middle, seconds=60)
        os.kill(victim(service, job.id), signal.SIGKILL)
        ended = job.wait().record
        assert [attempt.outcome for attempt in ended.attempts] == outcomes
        assert len(job.results) == 1
        states = [event.data["state"] for event in job.events() if event.type == "state"]
        assert states.count("succeeded") == 1
