"""What the service writes of itself: JSON lines of every part, tied to the request and the run."""

import json

import httpx
import pytest

from tests.services import TINY_DISTILL
from tests.waiting import until

PARTS = ("api", "worker", "intake")


@pytest.fixture(scope="module")
def job(service):
    """A job that has ended, submitted under a request id of its caller's."""
    asked = {"kind": "distill", "params": {"dataset": "digits", "distill": TINY_DISTILL}}
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        headers = {"X-Request-ID": "mine-1"}
        answer = client.post("/v1/jobs", json={**asked, "reuse": False}, headers=headers)
        path = answer.headers["location"]
        until(lambda: client.get(path).json()["ended_at"] is not None, seconds=120)
        return client.get(path).json()


def lines_of(service, part):
    """The lines that a part has logged; each has to be JSON with the keys that all have."""
    text = (service.folder / "logs" / f"service-{part}.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    return lines


@pytest.mark.parametrize("part", PARTS)
def test_every_line_of_every_part_is_json(service, job, part):
    """Those of uvicorn and Celery too."""
    assert lines_of(service, part)


def test_a_request_is_followed_from_the_api_into_the_run(service, job):
    """One id in the API's line, in each line of the run, and at the head of the trainer's log."""
    assert (job["state"], job["request_id"]) == ("succeeded", "mine-1")
    (submitted,) = [one for one in lines_of(service, "api") if one.get("request_id") == "mine-1"]
    assert submitted["message"] == "POST /v1/jobs"
    assert submitted["status"] == 202
    told = [one for one in lines_of(service, "worker") if one.get("job_id") == job["id"]]
    assert told
    for line in told:
        assert (line["request_id"], line["attempt"], line["fence"]) == ("mine-1", 1, 1)
        assert line["worker"] == job["attempts"][0]["worker"]
    log = httpx.get(f"{service.url}{job['links']['log']}", trust_env=False).text
    assert "request mine-1" in log
