"""A field of a job is known wherever jobs are asked for, written, shown, listed and repeated."""

from typing import Literal, get_args, get_origin

import pytest

from app.api.http.searching import PagedQuery
from app.api.jobs import JobListQuery
from app.api.schemas.jobs import JobBody, JobSummary
from app.shared.store.job_records import Job
from app.shared.store.tables import jobs
from app.submission.requests import Request

# What a submission may say beside its params: a value that is not the default's, and the fields it
# is shown by.
SAYS = {
    "timeout_seconds": 60,
    "stall_seconds": 7,
    "start_at": "2099-01-01T00:00:00.000Z",
    "expires_at": "2099-02-01T00:00:00.000Z",
    "priority": 3,
    "reuse": False,
    "name": "ten a class",
    "tags": {"env": "prod"},
    "notes": "one line,\nand another",
}
SHOWN_AS = {"start_at": "not_before_at"}
# A retry is to start now; a child's own time does not pass: its pipeline expires as a whole.
NOT_REPEATED = {"start_at", "expires_at"}
NOT_OF_CHILDREN = {"expires_at"}
PIPELINE = {"dataset": "digits", "calibrate": [{"method": "none"}]}
# What the database keeps of a job for the engine alone.
ENGINE_COLUMNS = {
    "lease_owner",
    "lease_until_at",
    "n_events",
    "recipe_ids",
    "rung_at",
    "stop_deadline_at",
}
# What of a job is no one's to see.
UNSEEN = {"owner_id", "queue", "fence", "version", "stop_requested"}
# Too long for lists, which have many of them.
NOT_LISTED = {"notes"}


def shown(body, name):
    """A field of a submission as the job shows it."""
    return body[SHOWN_AS.get(name, name)]


def test_every_field_of_a_submission_is_tried():
    """Who adds one says what it looks like, here."""
    assert set(SAYS) == set(Request.model_fields)


def test_what_a_submission_says_is_shown_of_its_job_and_in_lists(shared_api):
    """Each field, under its name."""
    job = shared_api.submit("distill", {"dataset": "digits"}, **SAYS)
    (listed,) = [
        one for one in shared_api.client.get("/v1/jobs").json()["items"] if one["id"] == job["id"]
    ]
    assert {name: shown(job, name) for name in SAYS} == SAYS
    for name in set(SAYS) - NOT_LISTED:
        assert shown(listed, name) == SAYS[name], name
    assert set(listed).isdisjoint(NOT_LISTED)


def test_a_retry_repeats_it(shared_api):
    """But for the times."""
    job = shared_api.submit("distill", {"dataset": "digits"}, **SAYS)
    shared_api.client.post(f"/v1/jobs/{job['id']}/cancel")
    again = shared_api.client.post(f"/v1/jobs/{job['id']}/retry").json()
    kept = set(SAYS) - NOT_REPEATED
    assert {name: shown(again, name) for name in kept} == {name: SAYS[name] for name in kept}
    assert {shown(again, name) for name in NOT_REPEATED} == {None}


def test_a_pipeline_hands_it_to_its_children(shared_api):
    """Those that wait for none of them start at its time, the others when they can."""
    pipeline = shared_api.submit("pipeline", PIPELINE, **SAYS)
    children = [shared_api.job(child["id"]) for child in pipeline["children"]]
    for name in set(SAYS) - NOT_OF_CHILDREN - {"start_at"}:
        assert all(shown(child, name) == SAYS[name] for child in children), name
    first = [child for child in children if child["kind"] == "distill"]
    assert {shown(child, "start_at") for child in first} == {SAYS["start_at"]}


def test_every_column_is_read():
    """A column is the engine's alone, or a field of the record that everyone reads."""
    assert {column.name for column in jobs.c} - set(Job.__dataclass_fields__) == ENGINE_COLUMNS


def test_every_field_of_a_job_is_shown():
    """Or is said here to be no one's to see."""
    assert set(Job.__dataclass_fields__) - set(JobBody.model_fields) == UNSEEN


def sample(annotation):
    """A value that a filter takes."""
    for member in (annotation, *get_args(annotation)):
        if get_origin(member) is Literal:
            return get_args(member)[0]
        if member in {int, float, bool}:
            # The one that a filter could take for none.
            return member(0)
    return "a"


@pytest.mark.parametrize(
    "name", sorted(set(JobListQuery.model_fields) - set(PagedQuery.model_fields))
)
def test_every_filter_is_a_column_that_lists_show(shared_api, name):
    """It finds nothing but what it asks for."""
    shared_api.submit("distill", {"dataset": "digits"}, start_at=SAYS["start_at"])
    given = {"parent": "none", "images_per_class": 10}
    value = given.get(name) or sample(JobListQuery.model_fields[name].annotation)
    ((column, wanted),) = JobListQuery(**{name: value}).filters().items()
    wanted = None if wanted == "" else wanted
    assert column in jobs.c
    assert column in JobSummary.model_fields
    found = shared_api.client.get("/v1/jobs", params={name: value}).json()["items"]
    everything = shared_api.client.get("/v1/jobs").json()["items"]
    assert found == [one for one in everything if one[column] == wanted]
