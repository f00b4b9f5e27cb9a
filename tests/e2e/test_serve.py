"""`ddcal serve`: it comes up, brings back what dies, and leaves nothing behind."""

import contextlib
import os
import signal

import httpx
import pytest

from tests.services import running_service
from tests.waiting import until, until_all_have_ended

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
