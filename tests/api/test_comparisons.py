"""POST /v1/comparisons: which results, what sets them apart, and what cannot be compared."""

import json

import pytest

from tests.api.test_pipelines import PIPELINE

FILES = {"report.json": b"{}"}
REPORT = {"dataset": "digits", "rows": [], "calibration_ids": []}


def end_all(api):
    """End every job that there is with a result of its kind, as workers would."""
    made = {
        "distill": ("distilled_set", {"dataset": "digits", "method": "dm", "images_per_class": 1}),
        "train": ("model", {"dataset": "digits", "training_set": "distilled", "seed_index": 0}),
        "evaluate": ("report", REPORT),
    }
    while any(job["state"] == "queued" for job in jobs_of(api)):
        run = api.claim()
        resource, values = made.get(run.kind, (None, None))
        api.succeed(run, *([(resource, values, FILES)] if resource else []))


def jobs_of(api):
    """All jobs."""
    return api.client.get("/v1/jobs", params={"page_size": 200}).json()["items"]


def pipeline(api, **changes):
    """A finished pipeline with changes in its params; gives its id."""
    body = api.submit("pipeline", {**PIPELINE, **changes})
    end_all(api)
    return body["id"]


def report_of(api, job_id):
    """The report of a pipeline."""
    (link,) = [
        one
        for one in api.client.get(f"/v1/jobs/{job_id}").json()["results"]
        if one["resource"] == "report"
    ]
    return link["id"]


def post(api, reports, **fields):
    """Ask for a comparison."""
    return api.client.post("/v1/comparisons", json={"reports": reports, **fields})


def refused(api, reports, **fields):
    """The pointers and codes of a refusal."""
    answer = post(api, reports, **fields)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [(one["pointer"], one["code"]) for one in answer.json()["errors"]]


@pytest.fixture
def two(api):
    """Two pipelines that differ in mask ratio and seed."""
    masks = [{**PIPELINE["distill"], "mask": {"ratio": ratio}} for ratio in (0.0, 0.3)]
    return [pipeline(api, distill=mask, seed=seed) for seed, mask in enumerate(masks)]


def test_what_differs_is_found_in_the_params_of_the_pipelines(api, two):
    """By paths, reports and their pipelines alike; the job waits for what made them."""
    reports = [report_of(api, one) for one in two]
    answer = post(api, [two[0], reports[1]], name="mine", tags={"a": "b"}, notes="why")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["dataset"]) == ("compare", "queued", "digits")
    assert (job["name"], job["tags"], job["notes"]) == ("mine", {"a": "b"}, "why")
    assert job["params"]["reports"] == [
        {"report": reports[0], "settings": {"seed": 0, "distill.mask.ratio": 0.0}},
        {"report": reports[1], "settings": {"seed": 1, "distill.mask.ratio": 0.3}},
    ]
    run = api.claim("intake")
    values = {"dataset": "digits", "report_ids": reports, "findings": ["a"], "headline": "a"}
    (result_id,) = api.succeed(run, ("comparison", values, {"comparison.html": b"<p>"}))
    body = api.client.get(f"/v1/comparisons/{result_id}").json()
    assert body["lineage"] == {"reports": reports}
    assert [one["name"] for one in body["artifacts"]] == ["comparison.html"]
    (listed,) = api.client.get("/v1/comparisons", params={"dataset": "digits"}).json()["items"]
    assert listed["id"] == result_id
    assert api.client.get(f"/v1/jobs/{job['id']}").json()["results"][0]["id"] == result_id


def test_a_chain_of_jobs_has_the_settings_of_its_jobs(api, two):
    """An evaluation submitted by hand is followed to the set; what jobs differ in is a list."""
    children = {
        job_id: {
            one["role"]: one["id"]
            for one in api.client.get(f"/v1/jobs/{job_id}").json()["children"]
        }
        for job_id in two
    }
    calibrations = [children[one]["calibrate-distilled"] for one in two]
    run = api.submit("evaluate", {"calibrations": calibrations[:1]})
    both = api.submit("evaluate", {"calibrations": calibrations})
    end_all(api)
    job = post(api, [run["id"], both["id"]]).json()
    first, second = (one["settings"] for one in job["params"]["reports"])
    assert (first["distill.mask.ratio"], second["distill.mask.ratio"]) == (0.0, [0.0, 0.3])
    assert (first["seed"], second["seed"]) == (0, [0, 1])
    assert "dataset" not in first


def test_the_same_request_under_a_key_makes_one_job(api, two):
    """Sent again, it is answered with what it made."""
    keyed = {"Idempotency-Key": "k"}
    first, again = (
        api.client.post("/v1/comparisons", json={"reports": two}, headers=keyed) for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = api.client.post("/v1/comparisons", json={"reports": two[::-1]}, headers=keyed)
    assert other.status_code == 422


def test_each_reference_that_cannot_be_compared_is_named(api, two):
    """Unknown, unfinished, without a report, twice: together in one answer."""
    waiting = api.submit("pipeline", {**PIPELINE, "seed": 9})["id"]
    distill = api.submit("distill", {"dataset": "digits", "distill": {"images_per_class": 1}})["id"]
    api.client.post(f"/v1/jobs/{distill}/cancel")
    nobody = "rep_" + "0" * 26
    asked = [two[0], nobody, "job_" + "0" * 26, waiting, distill, report_of(api, two[0])]
    assert refused(api, asked) == [
        ("/reports/1", "unknown_reference"),
        ("/reports/2", "unknown_reference"),
        ("/reports/3", "not_finished"),
        ("/reports/4", "no_report"),
        ("/reports/5", "duplicate_reference"),
    ]
    assert [job for job in jobs_of(api) if job["kind"] == "compare"] == []


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, [("/reports", "missing")]),
        ({"reports": []}, [("/reports", "too_short")]),
        ({"reports": ["set_" + "0" * 26]}, [("/reports/0", "wrong_form")]),
        ({"reports": ["job_" + "0" * 26], "report": 1}, [("/report", "unknown_field")]),
    ],
)
def test_a_malformed_request_is_refused_field_by_field(api, body, wanted):
    """Before anything is looked up."""
    answer = api.client.post("/v1/comparisons", json=body)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [place for place, _ in wanted]


def test_one_result_alone_is_no_comparison(api, two):
    """Nor are more than fifty."""
    assert refused(api, two[:1]) == [("/reports", "wrong_number_of_reports")]
    many = api.client.post("/v1/comparisons", json={"reports": ["rep_" + "0" * 26] * 51})
    assert many.status_code == 422
    assert many.json()["errors"][0]["pointer"] == "/reports"


def test_a_base_has_to_be_there(api, two):
    """A path that does not differ, or a value that none has, would compare with nothing."""
    assert refused(api, two, base={"distill.mask": 0.3}) == [
        ("/base/distill.mask", "unknown_setting")
    ]
    ratio = {"distill.mask.ratio": 0.5}
    assert refused(api, two, base=ratio) == [("/base/distill.mask.ratio", "unknown_value")]
    assert post(api, two, base={"distill.mask.ratio": 0.3}).status_code == 202


def test_results_stay_while_they_are_compared(api, two):
    """A job that has not ended needs those it reads; afterwards they may go."""
    job = post(api, two).json()
    assert api.client.delete(f"/v1/jobs/{two[0]}").status_code == 409
    run = api.claim("intake")
    api.succeed(run, ("comparison", {"dataset": "digits", "report_ids": []}, {}))
    assert run.id == job["id"]
    assert api.client.delete(f"/v1/jobs/{two[0]}").status_code == 204


def test_a_rule_is_part_of_the_request(api, two):
    """Checked like any field, and kept in the params."""
    rule = {
        "name": "r",
        "statement": "It is lower.",
        "of": {"settings": {"distill.mask.ratio": [0.3]}},
        "against": [{"settings": {"distill.mask.ratio": [0]}}],
        "expected": "lower",
    }
    job = post(api, two, rules=[rule]).json()
    assert job["params"]["rules"][0]["min_seeds"] == 8
    wrong = json.loads(json.dumps(rule)) | {"expected": "less"}
    assert refused(api, two, rules=[wrong])[0][0] == "/rules/0/expected"
