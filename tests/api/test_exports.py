"""Results in other formats: made once by a job, kept, and gone with what they are made of."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.job_records import Ending
from ddcal_core.formats.reports import read_report
from ddcal_core.specs.exports import FORMATS
from tests.api.npz import npz
from tests.api.serving import SET, problem, refusals, running_api
from tests.api.test_network_uploads import upload
from tests.api.test_results import chain

__all__ = ["chain"]  # a fixture, asked for by name

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
REPORT = Path(__file__).parents[1] / "core" / "formats" / "version_1" / "report.json"
NOW = {"Prefer": "wait=0"}
BYTES = bytes(range(256)) * 40
STORED = {"distilled_set.safetensors": b"tensors", "distilled_set.npz": b"arrays"}


@pytest.fixture
def made(api):
    """A distilled set: the job that made it, its id, and where its formats are."""
    job_id, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, STORED))
    return job_id, set_id, f"/v1/distilled-sets/{set_id}/content"


def folder(word="imagefolder"):
    """The query for a format."""
    return {"format": word}


def exports(api):
    """All jobs that have written a format."""
    return api.client.get("/v1/jobs", params={"kind": "export"}).json()["items"]


def test_what_the_job_has_written_is_a_format_like_any_other(api, made):
    """No job is begun for it."""
    _, _, url = made
    answer = api.client.get(url, params=folder("npz"))
    assert (answer.status_code, answer.content) == (200, b"arrays")
    assert answer.headers["content-disposition"] == 'attachment; filename="distilled_set.npz"'
    assert api.client.get(url, params=folder("safetensors")).content == b"tensors"
    assert exports(api) == []


def test_a_result_says_how_to_use_it(api, made):
    """Each format with its address, and lines that read it."""
    _, set_id, url = made
    formats = api.client.get(f"/v1/distilled-sets/{set_id}").json()["formats"]
    assert [one["format"] for one in formats] == list(FORMATS["distilled_set"])
    for one in formats:
        facts = FORMATS["distilled_set"][one["format"]]
        assert one["url"] == f"{url}?format={one['format']}"
        assert (one["use"], one["needs"]) == (facts.use, list(facts.needs))
        assert one["why_not"] is None


def test_a_format_is_made_once_and_kept(api, made):
    """202 with the job and where it is; then the file, as any other: ETag, 304, Range, HEAD."""
    _, set_id, url = made
    first = api.client.get(url, params=folder(), headers=NOW)
    assert first.status_code == 202
    assert first.headers["preference-applied"] == "wait=0"
    assert first.headers["retry-after"] == "1"
    job = first.json()
    assert first.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["dataset"]) == ("export", "queued", "digits")
    assert job["params"] == {
        "resource": "distilled_set", "result": set_id, "format": "imagefolder", "reports": [],
        "declared": {},
    }  # fmt: skip
    assert api.client.get(url, params=folder(), headers=NOW).json()["id"] == job["id"]

    run = api.export(BYTES)

    answer = api.client.get(url, params=folder())
    assert (answer.status_code, answer.content) == (200, BYTES)
    assert answer.headers["cache-control"] == "private, no-cache"
    etag = answer.headers["etag"]
    known = api.client.get(url, params=folder(), headers={"If-None-Match": etag})
    assert (known.status_code, known.content) == (304, b"")
    part = api.client.get(url, params=folder(), headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, BYTES[:10])
    head = api.client.head(url, params=folder())
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BYTES)))
    files = api.client.get(f"/v1/distilled-sets/{set_id}").json()["artifacts"]
    assert [file["name"] for file in files if file["job_id"] == run.id] == [
        "distilled_set.imagefolder.zip"
    ]
    assert len(exports(api)) == 1


def test_a_request_waits_for_what_is_being_made(api, made):
    """As long as it says."""
    _, _, url = made
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(api.client.get, url, params=folder(), headers={"Prefer": "wait=30"})
        while not exports(api):
            pass
        assert not waiting.done()
        api.export(BYTES)
        answer = waiting.result(timeout=20)
    assert (answer.status_code, answer.content) == (200, BYTES)
    assert answer.headers["preference-applied"] == "wait=30"


def test_requests_at_once_begin_one_job(api, made):
    """Whoever comes second finds the first one's."""
    _, _, url = made
    n = 8
    start = threading.Barrier(n)

    def ask(_):
        start.wait()
        return api.client.get(url, params=folder(), headers=NOW).json()["id"]

    with ThreadPoolExecutor(n) as pool:
        ids = set(pool.map(ask, range(n)))
    assert len(ids) == len(exports(api)) == 1


def test_a_format_that_could_not_be_made_says_why(api, made):
    """And is not tried for each request: once its job is deleted, it is tried again."""
    _, _, url = made
    job_id = api.client.get(url, params=folder(), headers=NOW).json()["id"]
    api.fail(api.claim("intake"))
    for _ in range(2):
        body = problem(api.client.get(url, params=folder(), headers=NOW), 409)
        assert body["code"] == "export_failed"
        assert f"imagefolder: loss; delete {job_id}" in body["detail"]
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.client.get(url, params=folder(), headers=NOW).status_code == 202


def test_one_that_was_cancelled_is_begun_anew(api, made):
    """A cancel says nothing of the format."""
    _, _, url = made
    job_id = api.client.get(url, params=folder(), headers=NOW).json()["id"]
    assert api.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    again = api.client.get(url, params=folder(), headers=NOW)
    assert again.status_code == 202
    assert again.json()["id"] != job_id
    assert len(exports(api)) == 1


def test_a_damaged_format_is_made_anew(api, made):
    """It is the result in another form: nothing is lost."""
    _, _, url = made
    api.client.get(url, params=folder(), headers=NOW)
    run = api.export(BYTES)
    (stored,) = (api.settings.artifact_folder / run.id).iterdir()
    stored.write_bytes(BYTES[:-1] + b"x")
    files = api.client.get(f"/v1/jobs/{run.id}/artifacts").json()["items"]
    told = problem(api.client.get(files[0]["url"]), 500)["detail"]
    assert "ask for the result in this format again: it is made anew" in told
    again = api.client.get(url, params=folder(), headers=NOW)
    assert again.status_code == 202
    assert again.json()["id"] != run.id
    assert not stored.exists()
    api.export(BYTES)
    assert api.client.get(url, params=folder(), headers=NOW).content == BYTES


def test_a_damaged_file_of_the_result_is_an_error(api, made):
    """There is nothing to make it from."""
    job_id, _, url = made
    for stored in (api.settings.artifact_folder / job_id).iterdir():
        stored.write_bytes(b"x")
    body = problem(api.client.get(url, params=folder("npz")), 500)
    assert body["code"] == "file_damaged"


def test_formats_go_with_their_result(api, made):
    """Rows and files; not while one is being made."""
    job_id, _, url = made
    api.client.get(url, params=folder(), headers=NOW)
    assert problem(api.client.delete(f"/v1/jobs/{job_id}"), 409)["code"] == "job_needed"
    api.export(BYTES)
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert exports(api) == []
    assert list(api.settings.artifact_folder.iterdir()) == []
    assert problem(api.client.get(url, params=folder()), 404)["code"] == "distilled_set_not_found"


def test_a_format_deleted_by_itself_is_made_again(api, made):
    """The result stays."""
    _, _, url = made
    api.client.get(url, params=folder(), headers=NOW)
    run = api.export(BYTES)
    assert api.client.delete(f"/v1/jobs/{run.id}").status_code == 204
    assert api.client.get(url, params=folder(), headers=NOW).status_code == 202


def test_what_a_format_cannot_hold_is_refused(api):
    """Before any work: folders have no place for soft labels."""
    soft = {**SET, "tensors": {"soft_labels": "float32 (2, 2), a probability of each class"}}
    _, (set_id,) = api.make("distill", DISTILL, ("distilled_set", soft, STORED))
    answer = api.client.get(f"/v1/distilled-sets/{set_id}/content", params=folder())
    assert refusals(answer) == [("/query/format", "not_applicable")]
    assert "got soft ones: take safetensors or npz" in answer.json()["detail"]
    assert exports(api) == []


@pytest.mark.parametrize("query", [{}, {"format": "pickle"}])
def test_the_formats_there_are_are_told(api, made, query):
    """Where none or another one is asked for."""
    _, _, url = made
    answer = api.client.get(url, params=query)
    ((pointer, _),) = refusals(answer)
    assert pointer == "/query/format"
    if query:
        assert all(
            word in answer.json()["errors"][0]["detail"] for word in FORMATS["distilled_set"]
        )


def test_a_result_without_a_format_s_file_says_so(api):
    """Such as a set of an earlier version."""
    _, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, {}))
    url = f"/v1/distilled-sets/{set_id}/content"
    answer = api.client.get(url, params=folder("npz"))
    assert refusals(answer) == [("/query/format", "not_applicable")]
    assert "its job has written none" in answer.json()["detail"]


def test_a_job_that_waits_for_a_result_needs_no_export(api, made):
    """An export that has ended holds nobody up."""
    job_id, _, url = made
    api.client.get(url, params=folder(), headers=NOW)
    run = api.claim("intake")
    with api.database.write() as connection:
        runs.succeed(connection, run, Ending())
    # It has no file, as if a worker of another version had ended it.
    assert (
        problem(api.client.get(url, params=folder(), headers=NOW), 409)["code"] == "export_failed"
    )
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204


def test_the_schema_of_reports_is_served(api):
    """And takes a report that this version writes."""
    answer = api.client.get("/v1/report-schema")
    assert answer.headers["content-type"] == "application/schema+json"
    schema = answer.json()
    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) >= {"headline", "rows", "conventions", "training_sets"}
    held = json.loads(REPORT.read_text())
    report = read_report(held).as_json()
    assert list(Draft202012Validator(schema).iter_errors(report)) == []
    wrong = {**report, "n_test": "many"}
    (error,) = Draft202012Validator(schema).iter_errors(wrong)
    assert error.json_path == "$.n_test"


def test_a_card_says_what_the_data_set_s_tags_declare(api):
    """Licence, in either spelling, and source; with other tags it is another card."""
    upload = {"name": "mine", "tag": ["license:CC0", "source:a shelf", "env:test"]}
    headers = {"Content-Type": "application/octet-stream"}
    sent = api.client.post("/v1/datasets", params=upload, content=npz(), headers=headers)
    assert sent.status_code == 202, sent.text
    api.check_upload()
    params = {**DISTILL, "dataset": "mine"}
    _, (set_id,) = api.make(
        "distill", params, ("distilled_set", {**SET, "dataset": "mine"}, STORED)
    )
    url = f"/v1/distilled-sets/{set_id}/content"
    first = api.client.get(url, params=folder("card"), headers=NOW).json()
    assert first["params"]["declared"] == {"licence": "CC0", "source": "a shelf"}
    assert (
        api.client.get(url, params=folder("imagefolder"), headers=NOW).json()["params"]["declared"]
        == {}
    )
    api.client.patch("/v1/datasets/mine", json={"tags": {"licence": "CC BY 4.0"}})
    second = api.client.get(url, params=folder("card"), headers=NOW).json()
    assert second["id"] != first["id"]
    assert second["params"]["declared"]["licence"] == "CC BY 4.0"


def test_a_card_declares_nothing_of_another_upload_under_the_old_name(api):
    """Its licence is that of other images."""
    headers = {"Content-Type": "application/octet-stream"}
    for licence in ("CC0", "none of yours"):
        upload = {"name": "mine", "tag": [f"licence:{licence}"]}
        api.client.post("/v1/datasets", params=upload, content=npz(), headers=headers)
        api.check_upload()
        if licence == "CC0":
            params, facts = {**DISTILL, "dataset": "mine"}, {**SET, "dataset": "mine"}
            _, (set_id,) = api.make("distill", params, ("distilled_set", facts, STORED))
            assert api.client.delete("/v1/datasets/mine").status_code == 204
    url = f"/v1/distilled-sets/{set_id}/content"
    card = api.client.get(url, params=folder("card"), headers=NOW).json()
    assert card["params"]["declared"] == {}


@pytest.mark.parametrize("collection", ["distilled-sets", "models", "calibrations"])
def test_a_card_tells_of_the_reports_that_there_are(api, chain, collection):
    """With the next report it is made anew, and the one before is deleted."""
    url = f"/v1/{collection}/{chain[collection]}/content"
    asked = api.client.get(url, params=folder("card"), headers=NOW)
    assert asked.json()["params"]["reports"] == [chain["reports"]]
    api.export(b"# A card", "README.md")
    assert api.client.get(url, params=folder("card"), headers=NOW).content == b"# A card"

    calibration = chain["calibrations"]
    report = {"dataset": "digits", "calibration_ids": [calibration], "rows": []}
    _, (newer,) = api.make("evaluate", {"calibrations": [calibration]}, ("report", report, {}))

    again = api.client.get(url, params=folder("card"), headers=NOW)
    assert again.status_code == 202
    assert again.json()["params"]["reports"] == [newer, chain["reports"]]
    assert [one["id"] for one in exports(api)] == [again.json()["id"]]


def test_what_cannot_be_folded_into_a_network_is_said_before(api, chain):
    """Isotonic regression, and a fit that has found nothing."""
    model = chain["models"]
    found = {"model_id": model, "fit_on": "validation"}
    isotonic = {**found, "method": "isotonic", "status": "ok", "temperature": None}
    nothing = {**found, "method": "ts", "status": "one_class", "temperature": None}
    _, ids = api.make(
        "calibrate",
        {"models": [model], "calibrate": [{"method": "ts"}, {"method": "isotonic"}]},
        ("calibration", isotonic, {}),
        ("calibration", nothing, {}),
    )
    for calibration_id, words in zip(ids, ("take safetensors", "it is one_class"), strict=True):
        url = f"/v1/calibrations/{calibration_id}/content"
        for word in ("onnx", "pt2"):
            answer = api.client.get(url, params=folder(word), headers=NOW)
            assert refusals(answer) == [("/query/format", "not_applicable")]
            assert words in answer.json()["detail"]
        assert api.client.get(url, params=folder("safetensors"), headers=NOW).status_code == 202


def test_another_owners_set_cannot_be_had_nor_named(migrated_url, tmp_path):
    """Not in any format, on its page, as a start, or as what a network was trained on."""
    settings = Settings(data_folder=tmp_path / "data", database_url=migrated_url)
    with running_api(settings) as api:
        _, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, STORED))
        url = f"/v1/distilled-sets/{set_id}/content"
        assert api.client.get(url, params=folder(), headers=NOW).status_code == 202
        api.export(BYTES)
    with running_api(settings, owner_id="stranger") as other:
        for word in FORMATS["distilled_set"]:
            problem(other.client.get(url, params=folder(word), headers=NOW), 404)
        assert other.client.get(f"/results/{set_id}").status_code == 404
        start = {"images_per_class": 1, "init": {"set": set_id}}
        params = {"dataset": "digits", "distill": start}
        answer = other.client.post("/v1/jobs", json={"kind": "distill", "params": params})
        assert refusals(answer) == [("/params/distill/init/set", "unknown_reference")]
        assert refusals(upload(other, distilled_set=set_id)) == [
            ("/query/distilled_set", "unknown_reference")
        ]
        assert other.client.get("/v1/jobs").json()["items"] == []
