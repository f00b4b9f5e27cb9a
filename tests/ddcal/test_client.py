"""The client, against the real API."""

import hashlib
import io
import json
import zipfile

import httpx
import numpy as np
import pytest

import ddcal
from ddcal.client import Client
from tests.api.npz import GOOD, GOOD_LOGITS, npz
from tests.api.serving import FACTS, SET
from tests.ddcal.conftest import KEY, FailingTransport, url_of

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
PIPELINE = {
    "kind": "pipeline",
    "params": {**DISTILL, "baselines": [], "calibrate": [{"method": "none"}]},
}
CONTENT = b"bytes of an artifact"


def ways_to_ask():
    """One job, asked for in each way there is."""
    request = {"kind": "distill", "params": DISTILL, "priority": 3}
    return {
        "request": ((request,), {}),
        "request and fields": (({"kind": "distill", "params": DISTILL},), {"priority": 3}),
        "document": ((json.dumps(request).encode(),), {}),
        "kind and params": (("distill",), {**DISTILL, "priority": 3}),
        "kind and some params": (("distill",), {"params": DISTILL, "priority": 3}),
        "keywords": ((), request),
    }


@pytest.mark.parametrize("way", ways_to_ask())
def test_a_job_is_asked_for_as_people_like(client, way):
    """All come to the same request."""
    given, fields = ways_to_ask()[way]
    job = client.submit(*given, **fields)
    assert job.record.kind == "distill"
    assert job.record.priority == 3
    assert job.record.params["distill"]["images_per_class"] == 1
    assert client.job(job.id).record.params == job.record.params


def test_a_document_takes_no_fields(client):
    """It goes as it is."""
    with pytest.raises(TypeError, match="wanted no keywords, got priority"):
        client.submit(b"{}", priority=1)


def test_a_refusal_names_each_field(client):
    """In the service's words, with the pointers for programs."""
    with pytest.raises(ddcal.InvalidRequestError) as refused:
        client.submit("distill", dataset="digits", distill={"images_per_class": -1}, seed="x")
    assert {one["pointer"] for one in refused.value.problems} == {
        "/params/distill/images_per_class",
        "/params/seed",
    }
    assert "\n  /params/seed: " in str(refused.value)
    assert refused.value.status == 422
    assert refused.value.request_id.startswith("req_")


def test_what_is_not_there_is_told(client):
    """As an error of its own."""
    with pytest.raises(ddcal.NotFoundError, match="job_0"):
        client.job("job_" + "0" * 26)


def test_lists_are_read_page_by_page(client):
    """Newest first, over all pages, and no page before it is come to."""
    ids = [client.submit("distill", params=DISTILL, seed=seed).id for seed in range(5)]
    found = client.jobs(kind="distill", page_size=2)
    assert next(found).id == ids[-1]
    late = client.submit("distill", params=DISTILL, seed=9).id
    assert [job.id for job in found] == ids[-2::-1]
    assert [job.id for job in client.jobs(state="queued", page_size=2)] == [late, *ids[::-1]]


def test_a_job_is_waited_for(api, client):
    """It is as it ended, and each change was seen."""
    job = client.submit("distill", params=DISTILL)
    seen = []
    for record in job.watch():
        seen.append(record.state)
        if record.state == "queued":
            run = api.claim()
        elif record.state == "running":
            api.succeed(run, ("distilled_set", SET, {"manifest.json": b"{}"}))
    assert seen[0] == "queued"
    assert seen[-1] == job.state == "succeeded"
    assert job.wait(timeout=1) is job


def test_a_failed_job_says_why(api, client):
    """Waiting raises, and so does asking for what it has not made."""
    job = client.submit("distill", params=DISTILL)
    api.fail(api.claim())
    for ask in (job.wait, lambda: job.report, lambda: job.download("nowhere")):
        with pytest.raises(ddcal.JobFailedError) as failed:
            ask()
        assert str(failed.value) == f"{job.id} failed\n  distill: nan_loss: loss"


def test_a_failed_part_of_a_pipeline_says_why(api, client):
    """With the error of the part."""
    job = client.submit(PIPELINE)
    api.fail(api.claim())
    with pytest.raises(ddcal.JobFailedError, match=r"failed\n(.*\n)*  distill: nan_loss: loss"):
        job.wait(timeout=60)


def test_what_is_not_done_has_nothing_yet(client, tmp_path):
    """No part of a download, no report."""
    job = client.submit(PIPELINE)
    for ask in (lambda: job.download(tmp_path / "out"), lambda: job.report):
        with pytest.raises(ddcal.JobNotDoneError, match="has not ended yet"):
            ask()
    assert list(tmp_path.glob("out/**")) == []


def test_cancel_retry_delete_log_and_events(client):
    """Each is one call."""
    job = client.submit("distill", params=DISTILL)
    assert job.cancel().state == "cancelled"
    again = job.retry()
    assert again.record.retry_of == job.id
    assert job.log == ""
    assert [event.data["state"] for event in job.events()] == ["queued", "cancelled"]
    assert [event.data["state"] for event in job.events(follow=True)] == ["queued", "cancelled"]
    job.delete()
    with pytest.raises(ddcal.NotFoundError):
        job.refresh()
    with pytest.raises(ddcal.ConflictError):
        again.delete()


def made_pipeline(api, client, files):
    """A pipeline whose distillation has made these files, the rest being cancelled."""
    job = client.submit(PIPELINE)
    api.succeed(api.claim(), ("distilled_set", SET, files))
    job.cancel()
    return job.refresh()


def test_a_download_has_a_folder_for_each_part(api, client, tmp_path):
    """Files appear whole; names of files cannot lead out of the folder."""
    job = made_pipeline(api, client, {"manifest.json": b"{}", "preview.png": CONTENT})
    written = job.download(tmp_path / "out")
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "out/distill/manifest.json",
        "out/distill/preview.png",
    ]
    assert written[1].read_bytes() == CONTENT
    assert {one.name: one.sha256 for one in job.artifacts}["preview.png"] == (
        hashlib.sha256(CONTENT).hexdigest()
    )


def test_a_damaged_download_leaves_no_file(api, tmp_path):
    """Bytes that are not the announced ones are refused and thrown away."""
    _, _ = api.make("distill", DISTILL, ("distilled_set", SET, {"manifest.json": b"{}"}))
    etag = {"ETag": '"sha256-' + "0" * 64 + '"'}
    damaged = httpx.Response(200, content=b"other bytes", headers=etag)
    with (
        Client(url_of(api)) as whole,
        Client(http=httpx.Client(transport=FailingTransport(damaged), base_url=url_of(api))) as cut,
    ):
        (artifact,) = next(whole.jobs()).artifacts
        with pytest.raises(ddcal.DamagedDownloadError, match=r"set.json: wanted sha256 0000"):
            cut.fetch(artifact.id, tmp_path / "set.json")
        assert list(tmp_path.glob("set.json*")) == []
        whole.fetch(artifact.id, tmp_path / "set.json")
    assert (tmp_path / "set.json").read_bytes() == b"{}"


def test_results_are_listed_shown_and_fetched(api, client, tmp_path):
    """A distilled set with its files; in a notebook with its picture."""
    files = {"manifest.json": b"{}", "preview.png": CONTENT}
    job_id, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, files))
    (found,) = client.sets(job_id=job_id)
    assert found.id == set_id
    assert client.job(job_id).results[0].id == client.result("distilled_set", set_id).id == set_id
    assert [path.name for path in found.download(tmp_path / "set")] == list(files)
    page = found._repr_html_()
    assert "data:image/png;base64," in page
    assert "images per class" in page
    assert list(client.models()) == list(client.reports()) == list(client.experts()) == []


def test_the_report_is_typed(api, client):
    """Headline and rows, with the table for a notebook."""
    number = {"mean": 0.1, "std": None, "n": 1}
    row = {"training_set_label": "<full>", "calibration": "none", "method": "none", "ece": number}
    report = {"dataset": "digits", "headline": "It is <b>good</b>.", "rows": [row], "n_test": 5}
    report["calibration_ids"] = []
    job_id = client.submit("distill", params=DISTILL).id
    run = api.claim()
    api.succeed(run, ("report", report, {"report.html": b"<p>"}))
    found = list(client.reports())
    assert [one.record.job_id for one in found] == [job_id]
    read = ddcal.Report.model_validate(found[0].record.details)
    assert (read.headline, read.rows[0].ece.mean) == ("It is <b>good</b>.", 0.1)
    page = read._repr_html_()
    assert "&lt;b&gt;good" in page
    assert "&lt;full&gt;" in page
    assert "<b>good" not in page


@pytest.mark.parametrize("is_folder", [True, False])
def test_images_are_uploaded_from_a_zip_or_a_folder(api, client, tmp_path, is_folder):
    """Either arrives as a zip with its options, and is waited for."""
    folder = tmp_path / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(5):
            (folder / name / f"{k}.png").write_bytes(b"\x89PNG\r\n\x1a\nan image")
    packed = tmp_path / "pets.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    dataset = client.upload("pets", folder if is_folder else packed, resize=32, seed=1)
    assert (dataset.name, dataset.state, dataset.collection) == ("pets", "checking", "datasets")
    assert dataset.record.image_files["resize"] == 32
    (stored,) = api.uploads()
    with zipfile.ZipFile(stored) as archive:
        assert archive.namelist() == [f"{c}/{k}.png" for c in ("cat", "dog") for k in range(5)]
    api.check_upload(facts=FACTS)
    assert dataset.wait(timeout=60).state == "ready"
    assert client.dataset("pets").record.facts["n_classes"] == 2
    assert "pets" in {one.name for one in client.datasets()}
    assert "ready" in dataset._repr_html_()
    dataset.delete()
    assert "pets" not in {one.name for one in client.datasets()}


def test_a_rejected_upload_says_why(api, client, tmp_path):
    """Waiting for it raises."""
    (tmp_path / "mine.npz").write_bytes(npz())
    dataset = client.upload("mine", tmp_path / "mine.npz")
    api.check_upload(problem={"code": "not_finite", "detail": "x_train: wanted finite numbers"})
    with pytest.raises(ddcal.UploadRejectedError, match="mine rejected: x_train: wanted finite"):
        dataset.wait(timeout=60)


def test_arrays_are_uploaded_as_they_are_named(api, client):
    """Images become a data set, logits logits."""
    assert client.upload("images", GOOD).collection == "datasets"
    assert client.upload("logits", GOOD_LOGITS).collection == "logits"
    assert [one.name for one in client.logits()] == ["logits"]
    assert client.dataset("logits", logits=True).state == "checking"
    stored = [np.load(io.BytesIO(path.read_bytes())) for path in api.uploads()]
    assert {frozenset(one.files) for one in stored} == {frozenset(GOOD), frozenset(GOOD_LOGITS)}


def test_a_key_is_wanted_and_checked(keyed_api, monkeypatch):
    """Without one, with a wrong one, and with the right one; told what to do."""
    url = url_of(keyed_api)
    wanted = pytest.raises(ddcal.UnauthorizedError, match="wants a key: set DDCAL_API_KEY")
    with Client(url) as client, wanted:
        list(client.jobs())
    wrong = pytest.raises(ddcal.UnauthorizedError, match="does not take this key")
    with Client(url, api_key="another-key-than-that") as client, wrong:
        client.version()
    monkeypatch.setenv("DDCAL_API_KEY", KEY)
    with Client(url) as client:
        assert client.version() == ddcal.__version__


def test_jobs_are_shown_in_notebooks(client):
    """What a user has called something is shown, not run."""
    job = client.submit(PIPELINE)
    page = job._repr_html_()
    assert job.id in page
    assert "train-distilled" in page
    named = job.record.model_copy(update={"name": "<script>"})
    assert "&lt;script&gt;" in ddcal.Job(job._to, named)._repr_html_()
    assert repr(job) == f"<Job {job.id}: pipeline, blocked>"


def test_a_newer_service_is_read(client):
    """Fields that are not known here are kept."""
    record = client.submit(PIPELINE).record
    newer = type(record).model_validate({**record.model_dump(), "colour": "blue"})
    assert newer.colour == "blue"


def test_names_and_tags_pass_through(client):
    """A job is called by its name, and found by it."""
    job = client.submit("distill", params=DISTILL, name="mine", tags={"env": "prod"})
    assert (job.record.name, job.record.tags) == ("mine", {"env": "prod"})
    assert repr(job) == f"<Job {job.id}: mine, queued>"
    client.submit("distill", params=DISTILL, tags={"env": "test"})
    assert [one.id for one in client.jobs(tag="env:prod")] == [job.id]
