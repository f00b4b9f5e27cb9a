"""`ddcal serve`: it comes up, brings back what dies, and leaves nothing behind."""

import contextlib
import os
import signal
from functools import partial

import httpx
import psutil
import pytest

from tests.services import TINY_DISTILL, run_ddcal, running_service
from tests.waiting import has_ended, until, until_all_have_ended

PARTS = {"api": "app.server api", "worker": "-Q gpu", "intake": "-Q intake", "broker": "unixsocket"}


def answers(url):
    """Does the API answer?"""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success
    return False


@pytest.fixture(scope="module")
def hurt_service(tmp_path_factory):
    """A service of this module's own, to be hurt."""
    with running_service(tmp_path_factory.mktemp("hurt")) as running:
        yield running


@pytest.mark.parametrize("part", PARTS)
def test_killed_part_comes_back(hurt_service, part):
    """After kill -9 of any part another process takes its place, and the API answers."""
    until(lambda: hurt_service.child(PARTS[part]) is not None, seconds=120)
    before = hurt_service.child(PARTS[part])
    os.kill(before, signal.SIGKILL)
    until(lambda: hurt_service.child(PARTS[part]) not in (None, before), seconds=120)
    until(lambda: answers(hurt_service.url), seconds=120)
    told = (hurt_service.folder / "logs" / "serve.log").read_text()
    assert f"{part} ended with status -9, starting it again" in told


def test_request_waits_while_the_api_is_started_again(hurt_service):
    """The port stays open over a restart of the API: a request is answered late, not refused."""
    until(lambda: answers(hurt_service.url), seconds=120)
    os.kill(hurt_service.child(PARTS["api"]), signal.SIGKILL)
    with httpx.Client(trust_env=False, timeout=60) as client:
        try:
            response = client.get(f"{hurt_service.url}/healthz")
        except httpx.ReadError:  # it had reached the process that was just dying
            response = client.get(f"{hurt_service.url}/healthz")
    assert response.is_success


def end_by(number, folder):
    """Start a service on a folder and send serve a signal; nothing below it may be left."""
    with running_service(folder) as running:
        pids = running.pids()
        assert len(pids) >= 1 + len(PARTS)
        running.process.send_signal(number)
        status = running.process.wait(60)
        until_all_have_ended(pids)
    return status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left(tmp_path, number):
    """After Ctrl-C or SIGTERM every process below serve has ended, and its address is gone."""
    assert end_by(number, tmp_path) == 0
    assert not (tmp_path / "address").exists()


def test_a_killed_service_leaves_no_process_and_comes_up_again(tmp_path):
    """After a kill -9 every process below serve has ended; what it wrote does not stop the next."""
    assert end_by(signal.SIGKILL, tmp_path) == -signal.SIGKILL
    (tmp_path / "address").unlink()
    with running_service(tmp_path) as running:
        assert answers(running.url)


HANG = {"DDCAL_HANG_SECONDS": "15", "DDCAL_LEASE_SECONDS": "10", "DDCAL_HEARTBEAT_SECONDS": "2"}


@pytest.fixture(scope="module")
def watched_service(tmp_path_factory):
    """A service that takes a part for hanging after seconds, not after a minute."""
    with running_service(tmp_path_factory.mktemp("watched"), **HANG) as running:
        yield running


def told(running, words):
    """How often serve has said this."""
    return (running.folder / "logs" / "serve.log").read_text().count(words)


# Workers wait for a frozen broker, and are not held to account meanwhile: it has a turn of its own.
@pytest.mark.parametrize("parts", [("api", "worker", "intake"), ("broker",)])
def test_a_frozen_part_is_started_again(watched_service, parts):
    """After SIGSTOP it lives, and does nothing: another process takes its place."""
    # One that has not begun yet may be silent for minutes.
    until(lambda: all(has_begun(watched_service, part) for part in parts), seconds=300)
    before = {part: watched_service.child(PARTS[part]) for part in parts}
    for pid in before.values():
        os.kill(pid, signal.SIGSTOP)
    for part, pid in before.items():
        has_a_successor = partial(is_another, watched_service, part, pid)
        until(has_a_successor, seconds=420)
        assert has_ended(pid)
        assert told(watched_service, f"{part} hangs, ") == 1
    until(lambda: answers(watched_service.url), seconds=300)


def is_another(running, part, before):
    """Has another process taken a part's place?"""
    return running.child(PARTS[part]) not in (None, before)


def has_begun(running, part):
    """Has a part been heard of? A worker has once its pool child, rung for, has begun something."""
    if part not in ("worker", "intake"):
        return answers(running.url)
    pid = running.child(PARTS[part])
    pool = [] if pid is None else psutil.Process(pid).children()
    return any(child.children() for child in pool)


def test_a_frozen_supervisor_is_started_again_and_its_job_ends(watched_service):
    """The pool child hangs, its parent does not; the job is lost by its lease and tried again."""
    with httpx.Client(base_url=watched_service.url, trust_env=False, timeout=120) as client:
        distill = {**TINY_DISTILL, "iterations": 100_000, "method": "dm"}
        wanted = {"kind": "distill", "params": {"dataset": "digits", "distill": distill}}
        job_id = client.post("/v1/jobs", json=wanted).json()["id"]

        def job():
            with contextlib.suppress(httpx.TransportError):
                return client.get(f"/v1/jobs/{job_id}").json()
            return {"state": "unknown", "attempt": 0}

        until(lambda: job()["state"] == "running", seconds=300)
        before = watched_service.child(PARTS["worker"])
        for child in psutil.Process(before).children():
            child.suspend()
        until(lambda: watched_service.child(PARTS["worker"]) not in (None, before), seconds=300)
        until(lambda: job()["state"] == "running" and job()["attempt"] > 1, seconds=300)
        client.post(f"/v1/jobs/{job_id}/cancel")
        until(lambda: job()["state"] == "cancelled", seconds=300)


def test_runs_of_a_former_serve_are_tried_again_at_once(tmp_path):
    """However long their leases are: who holds the folder knows that no worker is left."""
    long = {"DDCAL_LEASE_SECONDS": "100000"}
    distill = {**TINY_DISTILL, "iterations": 100_000, "method": "dm"}
    wanted = {"kind": "distill", "params": {"dataset": "digits", "distill": distill}}

    def job(running):
        return httpx.get(f"{running.url}/v1/jobs/{job_id}", trust_env=False, timeout=120).json()

    with running_service(tmp_path, **long) as running:
        submitted = httpx.post(f"{running.url}/v1/jobs", json=wanted, trust_env=False, timeout=120)
        job_id = submitted.json()["id"]
        until(lambda: job(running)["state"] == "running", seconds=300)
        # All at once, as by a power cut: a worker that could would hand its job back.
        running.process.send_signal(signal.SIGSTOP)
        for pid in reversed(running.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.process.wait()
    (tmp_path / "address").unlink()
    with running_service(tmp_path, **long) as running:
        until(lambda: job(running)["attempt"] == 2, seconds=300)


def test_a_damaged_database_is_said_by_name(tmp_path):
    """Serve does not start, and says what to do, without a traceback."""
    (tmp_path / "ddcal.sqlite").write_bytes(b"\0" * 8192 + b"no database" * 1000)
    ended = run_ddcal("serve", "--data-folder", tmp_path, "--port", "0", "--no-key")
    assert ended.returncode == 1
    assert "the database is damaged (file is not a database)" in ended.stderr
    assert "ddcal check" in ended.stderr
    assert "Traceback" not in ended.stderr
