import io
import random

import numpy as np
import pytest

from app.shared.settings import Settings
from app.submission.examples import EXAMPLES_ON_UPLOADS
from tests.api.npz import npz_bytes
from tests.api.npz import upload_logits as upload
from tests.api.serving import problem, refusals, running_api

FACTS = {
    "class_names": ["0", "1", "2"],
    "fit_class_counts": [10, 10, 10],
    "test_class_counts": [7, 7, 6],
    "dtype": "float32",
    "values": "logits",
    "n_test_in_fit": 0,
    "notes": [],
}
CALIBRATION = {
    "model_id": None, "logits": "mine", "dataset": "mine", "method": "ts", "fit_on": "fit rows",
    "status": "ok", "temperature": 2.5,
}  # fmt: skip
REPORT = {"dataset": "mine", "logits": "mine", "calibration_ids": [], "rows": [{"ece": 0.1}]}


def refused(api, params, kind="calibrate"):
    """What a submission that must leave no job is refused for."""
    before = api.n_jobs()
    answer = api.client.post("/v1/jobs", json={"kind": kind, "params": params})
    found = refusals(answer)
    assert api.n_jobs() == before
    return found


def test_logits_are_accepted_checked_and_listed(api):
    """202 and checking, then ready with their facts; no data set of that name appears."""
    answer = upload(api)
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/logits/mine"
    assert (body["state"], body["available"], body["facts"]) == ("checking", False, None)
    job = api.job(body["job_id"])
    assert (job["kind"], job["dataset"], job["params"]["content"]) == ("intake", "mine", "logits")
    api.check_upload(facts=FACTS)
    ready = api.client.get("/v1/logits/mine").json()
    assert (ready["state"], ready["available"], ready["why_not"]) == ("ready", True, None)
    assert ready["facts"] == {**FACTS, "n_classes": 3, "n_fit": 30, "n_test": 20}
    assert [item["name"] for item in api.client.get("/v1/logits").json()["items"]] == ["mine"]
    assert "mine" not in api.client.get("/v1/datasets").text
    problem(api.client.get("/v1/datasets/mine"), 404)
    problem(api.client.delete("/v1/datasets/mine"), 404)


def test_rejected_logits_say_why_and_no_job_takes_them(api):
    """What only decoding could tell stands in the upload and in the refusal."""
    upload(api)
    api.check_upload(problem={"code": "invalid_data", "detail": "logits_fit: got nan in row 3"})
    body = api.client.get("/v1/logits/mine").json()
    assert (body["state"], body["why_not"]) == ("rejected", "logits_fit: got nan in row 3")
    assert refused(api, {"logits": "mine"}) == [("/params/logits", "logits_rejected")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels_fit": None}, "labels_fit"),
        ({"logits_fit": np.zeros((0, 3), np.float32), "labels_fit": np.arange(0)}, "got 0"),
        ({"logits_fit": np.zeros((1, 3), np.float32), "labels_fit": np.arange(1)}, "got 1"),
        ({"logits_fit": np.zeros((30, 1), np.float32)}, "one a class; got 1"),
        ({"logits_fit": np.zeros((30, 3), int)}, "float32 or float64"),
        ({"x_train": np.zeros((30, 8, 8), np.uint8)}, "x_train"),
    ],
)
def test_a_wrong_structure_is_refused_at_once(shared_api, changes, words):
    """422 in words; no upload, no job, no file."""
    before = shared_api.n_jobs()
    assert words in problem(upload(shared_api, "wrong", **changes), 422)["detail"]
    assert shared_api.uploads() == []
    assert shared_api.n_jobs() == before
    problem(shared_api.client.get("/v1/logits/wrong"), 404)


def test_a_file_damaged_on_its_way_is_never_the_servers_fault(api):
    """One bit of it, anywhere: taken, to be looked at whole by the check, or refused."""
    buffer = io.BytesIO()
    logits = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float32)
    np.savez_compressed(buffer, logits_fit=logits, labels_fit=np.arange(300) % 10)
    content, dice = buffer.getvalue(), random.Random(0)
    statuses = []
    for trial in range(60):
        damaged = bytearray(content)
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        answer = api.client.post(
            "/v1/logits",
            params={"name": f"damaged-{trial}"},
            content=bytes(damaged),
            headers={"Content-Type": "application/zip"},
        )
        statuses.append(answer.status_code)
    assert set(statuses) <= {202, 422}
    assert statuses.count(422) > 30


def test_probabilities_are_a_422_that_names_the_field(api):
    """Undeclared they leave nothing; declared as either they are taken, and the job is told."""
    halves = np.full((30, 3), 1 / 3, np.float32)
    body = problem(upload(api, logits_fit=halves), 422)
    assert [(one["pointer"], one["code"]) for one in body["errors"]] == [
        ("/query/values", "not_logits")
    ]
    assert "values=probabilities" in body["detail"]
    assert api.uploads() == []
    wrong = problem(upload(api, values="percent"), 422)
    assert [one["pointer"] for one in wrong["errors"]] == ["/query/values"]
    answer = upload(api, values="probabilities", logits_fit=halves)
    assert answer.status_code == 202
    job = api.job(answer.json()["job_id"])
    assert job["params"]["options"] == {"values": "probabilities"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 65, "a\0b"])
def test_odd_names_are_refused(shared_api, name):
    """As for data sets."""
    answer = upload(shared_api, name)
    assert [one["pointer"] for one in problem(answer, 422)["errors"]] == ["/query/name"]
    assert shared_api.uploads() == []


def test_uploads_share_one_row_of_names(api):
    """Jobs say by name what they read: no data set and logits of one name, in either order."""
    upload(api)
    images = api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes())
    assert problem(images, 409)["code"] == "logits_exist"
    assert problem(upload(api), 409)["code"] == "logits_exist"
    assert problem(upload(api, "digits"), 409)["code"] == "dataset_exists"
    api.client.post("/v1/datasets", params={"name": "other"}, **npz_bytes())
    assert problem(upload(api, "other"), 409)["code"] == "dataset_exists"
    assert len(api.uploads()) == 2


def test_a_calibration_waits_for_the_check_and_keeps_the_logits(api):
    """Blocked while they are checked, queued then; not deleted while it has not ended."""
    upload(api)
    job = api.submit("calibrate", {"logits": "mine"})
    assert (job["state"], job["dataset"]) == ("blocked", "mine")
    wanted = [{"method": "none"}, {"method": "ts", "optimiser": "exact"}]
    assert job["params"]["calibrate"] == wanted
    api.check_upload(facts=FACTS)
    assert api.job(job["id"])["state"] == "queued"
    assert problem(api.client.delete("/v1/logits/mine"), 409)["code"] == "dataset_in_use"
    api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.client.delete("/v1/logits/mine").status_code == 204
    problem(api.client.get("/v1/logits/mine"), 404)
    assert api.uploads() == []
    assert upload(api).status_code == 202


@pytest.mark.parametrize("name", EXAMPLES_ON_UPLOADS)
def test_the_example_of_the_document_is_accepted(api, name):
    """As it stands, once the logits it names are there."""
    example = EXAMPLES_ON_UPLOADS[name]["value"]
    assert refused(api, example["params"]) == [("/params/logits", "unknown_logits")]
    upload(api, example["params"]["logits"])
    assert api.client.post("/v1/jobs", json=example).status_code == 202


def test_the_check_of_cancelled_logits_is_lost(api):
    """They will never be ready: said, and refused."""
    job_id = upload(api).json()["job_id"]
    api.client.post(f"/v1/jobs/{job_id}/cancel")
    assert api.client.get("/v1/logits/mine").json()["state"] == "rejected"
    assert refused(api, {"logits": "mine"}) == [("/params/logits", "logits_rejected")]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"logits": "nothing"}, ("/params/logits", "unknown_logits")),
        ({"logits": "digits"}, ("/params/logits", "unknown_logits")),
        ({"logits": 3}, ("/params/logits", "wrong_type")),
        ({"logits": "a b"}, ("/params/logits", "wrong_form")),
        ({"logits": "x", "calibrate": []}, ("/params/calibrate", "wrong_length")),
        (
            {"logits": "x", "calibrate": [{"method": "mts"}]},
            ("/params/calibrate/0/method", "unknown_value"),
        ),
        (
            {"logits": "x", "calibrate": [{"method": "ts", "fit_on": "distilled"}]},
            ("/params/calibrate/0/fit_on", "unknown_field"),
        ),
        ({"logits": "x", "models": ["job_" + "0" * 26]}, ("/params/models", "unknown_field")),
        ({"logits": "x", "evaluate": {"n_bins": 0}}, ("/params/evaluate/n_bins", None)),
        ({"calibrate": [{"method": "none"}]}, ("/params/models", "missing_field")),
        ({"models": ["x"], "calibrate": [{"method": "none"}]}, ("/params/models/0", None)),
        ([], ("/params", "wrong_type")),
        ("calibrate-logits", ("/params", "wrong_type")),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(shared_api, params, expected):
    """Pointers lead into the body: the names of the two shapes of params are not in them."""
    (pointer, code), *further = refused(shared_api, params)
    assert (pointer, code if expected[1] else None) == expected
    # What is named is looked up whatever else is wrong.
    unknown = {("/params/logits", "unknown_logits"), ("/params/models/0", "unknown_reference")}
    assert set(further) <= unknown


def test_each_method_is_asked_for_once(api):
    """Twice the same would be one row of two networks that do not exist."""
    upload(api)
    specs = [{"method": "ts"}, {"method": "none"}, {"method": "ts"}]
    assert refused(api, {"logits": "mine", "calibrate": specs}) == [
        ("/params/calibrate/2/method", "duplicate_calibration")
    ]


def test_logits_are_no_data_set(api):
    """No kind that wants images takes them."""
    upload(api)
    api.check_upload(facts=FACTS)
    assert refused(api, {"dataset": "mine"}, "distill") == [("/params/dataset", "unknown_dataset")]


@pytest.fixture
def made(api):
    """A calibration of uploaded logits with its report: ids of job, calibration and report."""
    upload(api)
    api.check_upload(facts=FACTS)
    job_id, (calibration, report) = api.make(
        "calibrate",
        {"logits": "mine"},
        ("calibration", CALIBRATION, {"temperature.json": b"{}"}),
        ("report", REPORT, {"report.html": b"<p>"}),
    )
    return job_id, calibration, report


def test_the_job_shows_calibrations_and_report(api, made):
    """Both of what it has made, each with its lineage, and the report on the front page."""
    job_id, calibration, report = made
    results = api.job(job_id)["results"]
    assert {(one["resource"], one["id"]) for one in results} == {
        ("calibration", calibration),
        ("report", report),
    }
    body = api.client.get(f"/v1/calibrations/{calibration}").json()
    assert body["lineage"] == {"logits": ["mine"]}
    assert (body["dataset"], body["details"]["temperature"]) == ("mine", 2.5)
    body = api.client.get(f"/v1/reports/{report}").json()
    assert body["lineage"] == {"logits": ["mine"], "calibrations": [calibration]}
    assert f'href="/results/{report}"' in api.client.get("/").text


def test_results_outlive_their_logits(api, made):
    """Deleting the upload leaves what was made from it."""
    _, calibration, report = made
    assert api.client.delete("/v1/logits/mine").status_code == 204
    assert api.client.get(f"/v1/calibrations/{calibration}").status_code == 200
    assert api.client.get(f"/v1/reports/{report}").json()["lineage"]["logits"] == ["mine"]


@pytest.mark.parametrize("by", ["job", "result"])
def test_there_is_no_network_to_evaluate(api, made, by):
    """`evaluate` refuses calibrations of logits, which have their report."""
    reference = made[0] if by == "job" else made[1]
    assert refused(api, {"calibrations": [reference]}, "evaluate") == [
        ("/params/calibrations/0", "no_network")
    ]


def test_another_owners_logits_do_not_exist(migrated_url, tmp_path):
    """Listed, looked at, deleted or named: as if they were not there; their name is free."""
    settings = Settings(data_folder=tmp_path / "data", database_url=migrated_url)

    with running_api(settings) as api:
        upload(api)
        api.check_upload(facts=FACTS)
    with running_api(settings, owner_id="stranger") as other:
        assert other.client.get("/v1/logits").json()["items"] == []
        problem(other.client.get("/v1/logits/mine"), 404)
        problem(other.client.delete("/v1/logits/mine"), 404)
        assert refused(other, {"logits": "mine"}) == [("/params/logits", "unknown_logits")]
        assert upload(other).status_code == 202
