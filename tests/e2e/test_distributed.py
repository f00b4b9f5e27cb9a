"""The distributed form as plain processes: PostgreSQL, broker, API and two workers by URL."""

import contextlib
import os
import socket

import httpx
import pytest

from app.embedded.children import spawn, stop
from ddcal.client import Client
from tests.file_modes import open_to_others
from tests.services import COMMAND, SHORT_PIPELINE, TINY_DISTILL
from tests.waiting import until

KEY = "a-key-of-the-distributed-form"


@pytest.fixture
def topology(tmp_path, postgres_url, broker_url):
    """URL of an API with two workers; nothing but the settings joins them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DDCAL_DATA_FOLDER": str(tmp_path / "data"),
        "DDCAL_DATABASE_URL": postgres_url,
        "DDCAL_REDIS_URL": broker_url,
        "DDCAL_PORT": str(port),
        "DDCAL_TRAINER_THREADS": "1",
    }
    with_key = {**environment, "DDCAL_API_KEY": KEY}
    url = f"http://127.0.0.1:{port}"

    def run(name, *command, environment=environment):
        process = spawn(
            [*COMMAND, *command],
            log_path=tmp_path / f"{name}.log",
            environment=environment,
            folder=tmp_path,
        )
        running.callback(stop, process, grace_seconds=30)
        return process

    def answers():
        with contextlib.suppress(httpx.TransportError):
            headers = {"Authorization": f"Bearer {KEY}"}
            return httpx.get(f"{url}/readyz", headers=headers, trust_env=False).is_success
        return False

    # The folder they run in holds files of their user's, which nobody imports.
    for name in ("app", "worker", "ddcal", "celery", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")

    with contextlib.ExitStack() as running:
        assert run("migrate", "migrate").wait(60) == 0, (tmp_path / "migrate.log").read_text()
        run("api", "api", environment=with_key)
        for name in ("one", "two"):
            run(name, "worker")
        until(answers, seconds=60)
        for name in ("one", "two"):
            until(lambda name=name: "ready" in (tmp_path / f"{name}.log").read_text(), seconds=60)
        yield url


def test_two_workers_share_the_work(topology, tmp_path):
    """Two jobs at once go to two workers, and a pipeline runs to its report; all of it private."""
    long = {"dataset": "digits", "distill": {**TINY_DISTILL, "iterations": 300}}
    with Client(topology, api_key=KEY) as client:
        jobs = [client.submit("distill", params=long, seed=seed) for seed in (0, 1)]
        pipeline = client.submit(SHORT_PIPELINE)
        workers = [attempt.worker for job in jobs for attempt in job.wait().record.attempts]
        assert len(workers) == len(set(workers)) == 2
        names = [artifact.name for artifact in pipeline.wait().artifacts]
    assert "report.html" in names
    assert open_to_others(tmp_path / "data") == []
