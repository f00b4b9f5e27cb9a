import pytest

from app.shared.engine import runs
from app.shared.engine.checkpoints import CheckpointStore
from app.shared.store.job_records import Ending
from tests.api.serving import SET, problem

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}


def test_pages_go_through_all_jobs_once_newest_first(api):
    """Keyset pages: nothing twice, nothing left out, though jobs come in meanwhile."""
    ids = [api.submit("distill", DISTILL)["id"] for _ in range(5)]
    seen, query = [], {"page_size": 2}
    while True:
        page = api.client.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["items"]]
        api.submit("distill", DISTILL)
        if page["next_page_token"] is None:
            break
        query["page_token"] = page["next_page_token"]
    assert seen == sorted(ids, reverse=True)


def test_a_page_token_works_with_its_own_filters_only(api):
    """A token of one list is refused by another."""
    for _ in range(2):
        api.submit("distill", DISTILL)
    page = api.client.get("/v1/jobs", params={"page_size": 1, "kind": "distill"}).json()
    token = page["next_page_token"]
    good = {"page_size": 2, "kind": "distill", "page_token": token}
    assert len(api.client.get("/v1/jobs", params=good).json()["items"]) == 1
    for other in ({"page_token": token}, {"page_token": token, "kind": "train"}):
        answer = api.client.get("/v1/jobs", params=other)
        assert problem(answer, 400)["code"] == "invalid_page_token"


def test_the_last_page_says_so(api):
    """A page that is exactly full is not followed by an empty one."""
    api.submit("distill", DISTILL)
    page = api.client.get("/v1/jobs", params={"page_size": 1}).json()
    assert len(page["items"]) == 1
    assert page["next_page_token"] is None


def test_filters_narrow_a_list(api):
    """By state and by data set."""
    first = api.submit("distill", DISTILL)["id"]
    second = api.submit("distill", DISTILL)["id"]
    api.client.post(f"/v1/jobs/{first}/cancel")

    def listed(**query):
        return [job["id"] for job in api.client.get("/v1/jobs", params=query).json()["items"]]

    assert listed(state="cancelled") == [first]
    assert listed(state="queued") == [second]
    assert listed(dataset="mnist") == []


def test_a_job_changes_its_etag_when_it_changes(api):
    """304 while nothing has happened, the new body once something has."""
    job_id = api.submit("distill", DISTILL)["id"]
    path = f"/v1/jobs/{job_id}"
    etag = api.client.get(path).headers["etag"]
    same = api.client.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    run = api.claim()
    changed = api.client.get(path, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["state"]) == (200, "running")
    assert "retry-after" in changed.headers
    api.succeed(run, ("distilled_set", SET, {}))
    assert "retry-after" not in api.client.get(path).headers


def test_progress_is_shown_with_fraction_and_estimate(api):
    """What the supervisor has written down, made readable."""
    job_id = api.submit("distill", DISTILL)["id"]
    run = api.claim()
    assert api.job(job_id)["progress"] is None
    at = {"phase": "distill", "step": 30, "steps": 120, "values": {"loss": 1.5}, "eta_seconds": 9.0}
    with api.database.write() as connection:
        runs.beat(connection, run, lease_seconds=60, progress=at)
    assert api.job(job_id)["progress"] == {**at, "fraction": 0.25}


def test_an_ended_job_shows_attempts_and_results(api):
    """Who ran it, how it ended, and where its results are."""
    job_id, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, {"a.json": b"{}"}))
    body = api.job(job_id)
    assert (body["state"], body["ended_at"][-1]) == ("succeeded", "Z")
    assert [(one["worker"], one["outcome"]) for one in body["attempts"]] == [("w1", "succeeded")]
    assert body["results"] == [
        {"resource": "distilled_set", "id": set_id, "url": f"/v1/distilled-sets/{set_id}"}
    ]
    assert "cancel" not in body["links"]
    (file,) = api.client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"]
    assert (file["name"], file["n_bytes"], file["resource_id"]) == ("a.json", 2, set_id)


def test_a_failed_job_says_why(api):
    """Type and message of the error."""
    job_id = api.submit("distill", DISTILL)["id"]
    api.fail(api.claim())
    assert api.job(job_id)["error"] == {"type": "nan_loss", "message": "loss"}


def test_cancelling_by_state(api):
    """Queued: at once; running: asked; again: no change; ended: refused."""
    queued, running = (api.submit("distill", DISTILL, priority=p)["id"] for p in (0, 1))
    run = api.claim()
    assert run.id == running

    def cancel(job_id):
        answer = api.client.post(f"/v1/jobs/{job_id}/cancel")
        return answer.status_code, answer.json()["state"]

    assert cancel(queued) == (200, "cancelled")
    assert cancel(queued) == (200, "cancelled")
    assert cancel(running) == (202, "cancelling")
    assert cancel(running) == (202, "cancelling")
    with api.database.write() as connection:
        runs.end_cancelled(connection, run, Ending())
    assert cancel(running) == (200, "cancelled")
    ended, _ = api.make("distill", DISTILL)
    answer = api.client.post(f"/v1/jobs/{ended}/cancel")
    assert problem(answer, 409)["code"] == "job_not_cancellable"


def test_deleting_takes_rows_files_and_log(api):
    """Nothing of an ended job stays behind."""
    job_id, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, {"a.json": b"{}"}))
    api.settings.log_folder.mkdir()
    log = api.settings.log_folder / f"{job_id}.log"
    log.write_text("printed")
    checkpoint = CheckpointStore(api.settings.checkpoint_folder).open(job_id)
    checkpoint.write_bytes(b"state")
    (file,) = api.client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"]
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    for path in (f"/v1/jobs/{job_id}", f"/v1/distilled-sets/{set_id}", file["url"]):
        problem(api.client.get(path), 404)
    assert not log.exists()
    assert not checkpoint.parent.exists()
    assert not (api.settings.artifact_folder / job_id).exists()
    problem(api.client.delete(f"/v1/jobs/{job_id}"), 404)


def test_a_job_says_whose_results_it_has_taken_over(api):
    """In lists, by itself, with its recipe, and among its events."""
    job_id, other = api.submit("distill", DISTILL)["id"], "job_" + "a" * 26
    run = api.claim()
    assert api.job(job_id)["recipe"] is None
    with api.database.write() as connection:
        runs.note_recipe(connection, run, "0f" * 32, ())
        runs.note(connection, run, {"code": "reused", "message": "m", "job_id": other})
        runs.succeed(connection, run, Ending(), reused_from=other)
    assert api.job(job_id)["recipe"] == "0f" * 32
    (listed,) = api.client.get("/v1/jobs").json()["items"]
    assert (listed["reused_from"], listed["reuse"]) == (other, True)
    (note,) = [
        event["data"]
        for event in api.client.get(f"/v1/jobs/{job_id}/events").json()["items"]
        if event["type"] == "note"
    ]
    assert note == {"code": "reused", "message": "m", "job_id": other}


def test_a_job_that_has_not_ended_is_not_deleted(api):
    """It has to be cancelled first."""
    job_id = api.submit("distill", DISTILL)["id"]
    assert problem(api.client.delete(f"/v1/jobs/{job_id}"), 409)["code"] == "job_not_ended"
    assert api.job(job_id)["state"] == "queued"


def test_the_log_is_plain_text_as_far_as_it_goes(api):
    """Empty before anything is printed; then what has been printed."""
    job_id = api.submit("distill", DISTILL)["id"]
    assert api.client.get(f"/v1/jobs/{job_id}/log").text == ""
    api.settings.log_folder.mkdir()
    text = "ü <b>\n" * 50_000
    (api.settings.log_folder / f"{job_id}.log").write_text(text)
    answer = api.client.get(f"/v1/jobs/{job_id}/log")
    assert answer.text == text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_log_of_a_pipeline_is_its_childrens_in_turn(api):
    """Each begins with a line that names it; those that have not begun are left out."""
    params = {"dataset": "digits", "baselines": [], "calibrate": [{"method": "none"}]}
    pipeline = api.submit("pipeline", params)
    run = api.claim()
    api.settings.log_folder.mkdir()
    (api.settings.log_folder / f"{run.id}.log").write_text("printed\n")
    text = api.client.get(f"/v1/jobs/{pipeline['id']}/log").text
    assert text == f"== distill {run.id}\nprinted\n"


@pytest.mark.parametrize(("after", "expected"), [(0, [1, 2, 3]), (2, [3]), (3, [])])
def test_events_are_a_page_of_what_happened(api, after, expected):
    """Dense numbers from 1, and what to ask for next."""
    job_id, _ = api.make("distill", DISTILL)
    page = api.client.get(f"/v1/jobs/{job_id}/events", params={"after": after}).json()
    assert [event["seq"] for event in page["items"]] == expected
    assert page["next_after"] == 3
    states = ["queued", "running", "succeeded"]
    assert [event["data"]["state"] for event in page["items"]] == states[after:]


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "after=1e99"])
def test_odd_event_pages_are_refused(shared_api, query):
    """Numbers within their ranges only."""
    path = "/v1/jobs/job_00000000000000000000000000/events"
    problem(shared_api.client.get(f"{path}?{query}"), 422)
