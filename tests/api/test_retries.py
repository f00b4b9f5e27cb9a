"""Jobs for later, jobs that expire, and jobs once more, over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.shared.engine import runs
from app.shared.store.job_records import Ending
from app.shared.store.tables import jobs
from tests.api.serving import problem

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
IN_AN_HOUR = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
PIPELINE = {
    "dataset": "digits",
    "distill": {"images_per_class": 1},
    "calibrate": [{"method": "none"}],
}


def post(api, kind="distill", params=DISTILL, **fields):
    """Submit with fields beside the params; the answer as it came."""
    return api.client.post("/v1/jobs", json={"kind": kind, "params": params, **fields})


def fail(api):
    """Claim the next job and let it fail for good."""
    with api.database.write() as connection:
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        error = {"type": "nan_loss", "message": "the loss became nan"}
        return runs.fail(connection, run, error, Ending())


def test_a_job_for_later_says_so(api):
    """It is scheduled, and shows until when."""
    job = post(api, start_at=IN_AN_HOUR, stall_seconds=60).json()
    assert job["state"] == "scheduled"
    late = datetime.fromisoformat(job["not_before_at"]) - datetime.fromisoformat(IN_AN_HOUR)
    assert abs(late) <= timedelta(milliseconds=1)
    assert job["stall_seconds"] == 60


def test_a_pipeline_for_later_lets_only_its_first_jobs_wait_for_the_time(api):
    """The others wait for those."""
    pipeline = post(api, "pipeline", PIPELINE, start_at=IN_AN_HOUR).json()
    states = {child["role"]: child["state"] for child in pipeline["children"]}
    assert pipeline["state"] == "blocked"
    assert (states["distill"], states["train-random"]) == ("scheduled", "scheduled")
    assert states["evaluate"] == states["train-distilled"] == "blocked"


def test_a_start_that_has_passed_is_none(api):
    """A client whose clock is a little slow is served at once."""
    assert post(api, start_at="2026-01-01T00:00:00Z").json()["state"] == "queued"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"expires_at": "2026-01-01T00:00:00Z"}, "expires_too_early"),
        ({"start_at": IN_AN_HOUR, "expires_at": IN_AN_HOUR}, "expires_too_early"),
        ({"start_at": "2027-01-01T00:00:00"}, "invalid_value"),
        ({"start_at": 1_900_000_000}, "invalid_value"),
        ({"start_at": "tomorrow"}, "invalid_value"),
        ({"start_at": "9999-12-31T23:59:59-12:00"}, "invalid_value"),
        ({"expires_at": "9999-12-31T23:59:59.9999Z"}, "invalid_value"),
        ({"expires_at": "soon"}, "invalid_value"),
        ({"stall_seconds": 0}, "out_of_range"),
    ],
)
def test_times_that_cannot_be_are_refused(api, fields, code):
    """With a pointer to the field."""
    body = problem(post(api, **fields), 422)
    (error,) = body["errors"]
    assert (error["pointer"], error["code"]) == ("/" + list(fields)[-1], code)
    assert "got null" not in error["detail"]


def test_a_failed_job_is_retried_as_a_new_one(api):
    """Same params, its own id, and the link between them; under one key once."""
    first = post(api, priority=3, stall_seconds=99).json()
    fail(api)
    ended = api.client.get(first["links"]["self"]).json()
    assert ended["links"]["retry"] == f"/v1/jobs/{first['id']}/retry"

    headers = {"Idempotency-Key": "again"}
    answer = api.client.post(ended["links"]["retry"], headers=headers)
    again = api.client.post(ended["links"]["retry"], headers=headers)

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["retry_of"]) == ("queued", first["id"])
    for name in ("params", "priority", "stall_seconds", "reuse"):
        assert job[name] == first[name]
    assert again.json()["id"] == job["id"]
    assert api.client.get(first["links"]["self"]).json()["state"] == "failed"


def test_a_cancelled_pipeline_is_retried_with_all_its_children(api):
    """As if it had been submitted again."""
    first = post(api, "pipeline", PIPELINE).json()
    api.client.post(first["links"]["cancel"])
    job = api.client.post(f"/v1/jobs/{first['id']}/retry").json()
    roles = [[child["role"] for child in one["children"]] for one in (first, job)]
    assert roles[0] == roles[1]
    assert job["retry_of"] == first["id"]


def test_a_job_of_another_version_is_not_retried(api):
    """What its params ask for is not taken today: 422 in words."""
    job = post(api).json()["id"]
    fail(api)
    with api.database.write() as connection:
        params = {**DISTILL, "of_tomorrow": 1}
        connection.execute(update(jobs).where(jobs.c.id == job).values(params=params))
    before = api.n_jobs()
    body = problem(api.client.post(f"/v1/jobs/{job}/retry"), 422)
    assert body["code"] == "not_retryable_today"
    assert "params/of_tomorrow" in body["detail"]
    assert api.n_jobs() == before


def test_only_what_ended_without_success_is_retried(api):
    """Running work is not doubled, and a success is not repeated by this door."""
    job = post(api).json()
    retry = f"/v1/jobs/{job['id']}/retry"
    assert problem(api.client.post(retry), 409)["code"] == "job_not_retryable"
    with api.database.write() as connection:
        run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
        runs.succeed(connection, run, Ending())
    refusal = problem(api.client.post(retry), 409)
    assert refusal["code"] == "job_not_retryable"
    assert refusal["detail"].endswith(f"checks no upload; {job['id']} (distill) is succeeded")
    assert problem(api.client.post("/v1/jobs/job_" + "0" * 26 + "/retry"), 404)
