"""`ddcal serve` with two workers: jobs run side by side, and each worker is kept alive."""

import os
import signal

import pytest

from ddcal.client import Client
from tests.services import SHORT_PIPELINE, TINY_DISTILL, running_service
from tests.waiting import until


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that notices a lost worker within seconds."""
    settings = {
        "DDCAL_WORKERS": "2",
        "DDCAL_LEASE_SECONDS": "10",
        "DDCAL_HEARTBEAT_SECONDS": "1",
    }
    with running_service(tmp_path_factory.mktemp("workers"), **settings) as running:
        yield running


def distillation(seed):
    """A job that is at work for as long as it is let."""
    spec = {**TINY_DISTILL, "method": "dm", "iterations": 1_000_000}
    params = {"dataset": "digits", "seed": seed, "distill": spec}
    return {"kind": "distill", "reuse": False, "params": params}


def is_at_work(job):
    """Has it taken a step?"""
    progress = job.refresh().record.progress
    return progress is not None and progress.step > 0


def test_two_jobs_run_at_once_and_outlive_the_loss_of_a_worker(service):
    """Both take steps; the second worker's job goes on in the next that serve starts."""
    with Client(service.url) as client:
        jobs = [client.submit(distillation(seed)) for seed in (1, 2)]
        for job in jobs:
            until(lambda job=job: is_at_work(job), seconds=120)
        # Neither has ended while the other was begun.
        assert [job.refresh().record.state for job in jobs] == ["running", "running"]
        workers = {job.record.attempts[-1].worker for job in jobs}
        assert len(workers) == 2

        os.kill(service.child("-Q gpu"), signal.SIGKILL)
        until(
            lambda: (
                any(len(job.refresh().record.attempts) == 2 for job in jobs)
                and all(is_at_work(job) for job in jobs)
            ),
            seconds=180,
        )
        outcomes = sorted(job.record.attempts[0].outcome or "" for job in jobs)
        assert outcomes == ["", "lost"]
        for job in jobs:
            job.cancel()
        for job in jobs:
            until(lambda job=job: job.refresh().record.state == "cancelled", seconds=60)


def test_a_pipeline_ends_as_with_one_worker(service):
    """Its jobs wait for each other, whoever runs them."""
    with Client(service.url) as client:
        assert client.submit(SHORT_PIPELINE).wait().record.state == "succeeded"
