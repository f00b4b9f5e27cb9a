"""Requests are sent again where that is safe, at a pace that the service sets."""

import contextlib
import itertools
import time

import httpx
import pytest

import ddcal
from ddcal import jobs
from ddcal.client import Client
from ddcal.conversations import Manners
from ddcal.transport import Transport
from tests.api.npz import npz
from tests.ddcal.conftest import FailingTransport, url_of

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
NO_ANSWER = httpx.ConnectError("Connection refused")
BUSY = httpx.Response(503, headers={"Retry-After": "5"}, json={"code": "busy", "detail": "later"})


@pytest.fixture
def patient(api):
    """Makes a client on a way that fails as given; gives it, its way, and the pauses it makes."""
    with contextlib.ExitStack() as stack:

        def make(*failures, max_retries=4, clock=time.monotonic):
            way, pauses = FailingTransport(*failures), []
            http = stack.enter_context(httpx.Client(transport=way, base_url=url_of(api)))
            client = Client(http=http, max_retries=max_retries)
            manners = Manners(client.url, max_retries, clock=clock, jitter=lambda: 0.5)
            client._to = Transport(http, manners, sleep=pauses.append)
            return client, way, pauses

        yield make


def test_a_lost_answer_does_not_make_a_second_job(patient):
    """The second try carries the first one's key, and is answered with the job of the first."""
    client, way, _ = patient("lost")
    job = client.submit("distill", params=DISTILL)
    assert [one.id for one in client.jobs()] == [job.id]
    first, second = way.seen[:2]
    assert first[0]["idempotency-key"] == second[0]["idempotency-key"]
    assert first[1] == second[1]


def test_an_upload_is_sent_again_whole(api, patient, tmp_path):
    """Nobody knows whether the first has arrived: the service knows the second as the same."""
    (tmp_path / "mine.npz").write_bytes(npz())
    client, way, _ = patient("lost")
    client.upload("mine", tmp_path / "mine.npz")
    assert [body for _, body in way.seen] == [npz()] * 2
    assert len(api.uploads()) == 1


def test_a_busy_service_is_asked_again_when_it_says(patient):
    """503 and 429 with Retry-After; then it answers."""
    limited = httpx.Response(429, json={})
    client, _, pauses = patient(BUSY, limited)
    assert list(client.jobs()) == []
    assert pauses == [5.0, 0.375]


def test_pauses_grow_and_end(patient):
    """Doubling, drawn from their upper half; the last failure is told."""
    client, way, pauses = patient(*[NO_ANSWER] * 9)
    with pytest.raises(
        ddcal.NoServiceError, match=r"Connection refused\. Is the service up"
    ) as told:
        client.version()
    assert client.url in str(told.value)
    assert pauses == [0.1875, 0.375, 0.75, 1.5]
    assert len(way.seen) == 5


def test_a_service_that_stays_busy_is_told_of(patient):
    """In its own words."""
    client, _, _ = patient(*[BUSY] * 3, max_retries=2)
    with pytest.raises(ddcal.ServiceError, match="later") as told:
        client.version()
    assert told.value.status == 503


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 502])
def test_other_refusals_are_final(patient, status):
    """Asked once; what is no problem of ours is told by its status."""
    client, way, pauses = patient(httpx.Response(status, text="<html>"))
    with pytest.raises(ddcal.ServiceError, match=str(status)):
        client.version()
    assert (len(way.seen), pauses) == (1, [])


def test_an_answer_that_is_no_json_is_told(patient):
    """As from a proxy between."""
    client, _, _ = patient(httpx.Response(200, text="<html>"))
    with pytest.raises(ddcal.ServiceError, match="did not answer with JSON"):
        client.version()


def test_a_wait_outlasts_a_restart_of_the_service(patient):
    """More tries than for anything else, since what was waited for so long goes on."""
    client, _, _ = patient()
    job = client.submit("distill", params=DISTILL)
    job.cancel()
    cut, _, _ = patient(*[NO_ANSWER] * 10)
    steps = jobs.watched(job.id, None, cut._to.manners)
    assert [record.state for record in cut._to.iterate(steps)] == ["cancelled"]


def test_a_wait_that_is_too_long_ends(patient):
    """By the clock, not by the number of looks; the job goes on."""
    client, _, _ = patient(clock=itertools.count(step=20).__next__)
    job = client.submit("distill", params=DISTILL)
    with pytest.raises(ddcal.WaitTimeoutError, match=r"has not ended within 30 s; it goes on"):
        job.wait(timeout=30)
    assert isinstance(ddcal.WaitTimeoutError(), TimeoutError)
    assert job.refresh().state == "queued"


def test_a_refused_connection_is_told_at_the_first_look():
    """For nobody listens there."""
    told = pytest.raises(ddcal.NoServiceError, match=r"no answer from http://127\.0\.0\.1:1")
    with Client("http://127.0.0.1:1", max_retries=0) as client, told:
        client.version()


def test_a_url_that_cannot_be_read():
    """Is told in words."""
    with pytest.raises(ddcal.NoServiceError, match=r"http://127\.0\.0\.1:port"):
        Client("http://127.0.0.1:port")
