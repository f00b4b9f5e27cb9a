"""The HTTP client, against a service that answers from a table."""

import hashlib
import io
import json
import zipfile

import httpx
import pytest

from ddcal.client import Client, DamagedDownloadError, ServiceError

CONTENT = b"bytes of an artifact"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def service(answers):
    """A client of a service that answers each "METHOD path?query" as the table says."""

    def answer(request):
        given = answers[f"{request.method} {request.url.raw_path.decode()}"]
        if callable(given):
            given = given(request)
        return given if isinstance(given, httpx.Response) else httpx.Response(200, json=given)

    http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://service.test")
    return Client(http, retry_seconds=0)


def artifact(number, *, resource="rep_1", name="report.json"):
    """An artifact as the service lists it."""
    return {"id": f"art_{number}", "resource_id": resource, "name": name, "sha256": SHA256}


def content(body=CONTENT, etag=f'"sha256-{SHA256}"'):
    """The bytes of an artifact as the service sends them."""
    return httpx.Response(200, content=body, headers={"ETag": etag})


def test_problem_becomes_an_exception_with_its_fields():
    """The service's words, its code and each field's problem reach the caller."""
    problem = {
        "status": 422,
        "code": "invalid_request",
        "detail": "cannot be",
        "errors": [{"pointer": "/params/seed", "code": "ge", "detail": "wanted >= 0, got -1"}],
    }
    refusing = service({"POST /v1/jobs": httpx.Response(422, json=problem)})
    with pytest.raises(
        ServiceError, match=r"cannot be\n  /params/seed: wanted >= 0, got -1"
    ) as got:
        refusing.submit({})
    assert (got.value.status, got.value.code) == (422, "invalid_request")


def test_answer_that_is_no_json_is_told_by_its_status():
    """What a proxy in between may answer is an error that names the status."""
    proxied = service({"GET /v1/jobs/job_1": httpx.Response(502, text="<html>")})
    with pytest.raises(ServiceError, match="502"):
        proxied.job("job_1")


def test_submission_is_sent_again_under_the_same_key():
    """When the connection breaks, the second try carries the first one's idempotency key."""
    keys = []

    def breaks_once(request):
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("connection reset", request=request)
        return {"id": "job_1", "got": json.loads(request.content)}

    job = service({"POST /v1/jobs": breaks_once}).submit({"kind": "distill"})
    assert job == {"id": "job_1", "got": {"kind": "distill"}}
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_lists_are_read_over_all_pages():
    """Every page is fetched, with the filters on each."""
    jobs = service(
        {
            "GET /v1/jobs?state=failed": {"items": [{"id": "b"}], "next_page_token": "t"},
            "GET /v1/jobs?state=failed&page_token=t": {
                "items": [{"id": "a"}],
                "next_page_token": None,
            },
        }
    ).jobs(state="failed")
    assert [job["id"] for job in jobs] == ["b", "a"]


def test_watch_ends_with_the_job():
    """A job is given each time it was looked at, the last time as it ended."""
    states = iter(["queued", "running", "cancelled"])
    watched = service({"GET /v1/jobs/job_1": lambda _: {"state": next(states)}})
    seen = [job["state"] for job in watched.watch("job_1", poll_seconds=0)]
    assert seen == ["queued", "running", "cancelled"]


def calibration(number, seed_index, **details):
    """A calibration as the service lists it."""
    known = {"seed_index": seed_index, "fit_on": None, "mask_ratio": None, **details}
    return {"id": f"cal_{number}", "resource": "calibration", "details": known}


def test_download_of_a_pipeline_has_a_folder_for_each_result(tmp_path):
    """Files lie under role, calibration and seed; two results alike in all these stay apart."""
    children = [
        {"id": "job_2", "role": "distill", "kind": "distill"},
        {"id": "job_3", "role": "calibrate-full", "kind": "calibrate"},
    ]
    calibrations = [  # newest first
        calibration(6, 0, method="ts", fit_on="validation"),
        calibration(5, 0, method="ts", fit_on="validation"),
        calibration(4, 1, method="mts", fit_on="training_set", mask_ratio=0.7),
        calibration(3, 0, method="none"),
    ]
    distilled = {"id": "set_1", "resource": "distilled_set", "details": {}}
    files = [artifact(k, resource=f"cal_{k}", name="config.json") for k in (3, 4, 5, 6)]
    preview = artifact(1, resource="set_1", name="preview.png")
    written = service(
        {
            "GET /v1/jobs/job_1": {"id": "job_1", "role": None, "children": children},
            "GET /v1/distilled-sets?job_id=job_2": {"items": [distilled], "next_page_token": None},
            "GET /v1/calibrations?job_id=job_3": {"items": calibrations, "next_page_token": None},
            "GET /v1/jobs/job_2/artifacts": {"items": [preview]},
            "GET /v1/jobs/job_3/artifacts": {"items": files},
            **{f"GET /v1/artifacts/art_{k}/content": content() for k in (1, 3, 4, 5, 6)},
        }
    ).download("job_1", tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "distill/preview.png",
        "calibrate-full/none/seed-0/config.json",
        "calibrate-full/mts-training-set-0.7/seed-1/config.json",
        "calibrate-full/ts-validation/seed-0/config.json",
        "calibrate-full/ts-validation/seed-0-2/config.json",
    ]
    assert all(path.read_bytes() == CONTENT for path in written)


@pytest.mark.parametrize("etag", ['"sha256-' + "0" * 64 + '"', ""], ids=["wrong", "none"])
def test_damaged_download_leaves_no_file(tmp_path, etag):
    """Bytes that are not the announced ones are refused and thrown away."""
    damaged = service({"GET /v1/artifacts/art_1/content": content(etag=etag)})
    with pytest.raises(DamagedDownloadError, match=r"report.json: wanted sha256"):
        damaged.fetch(artifact(1), tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_names_of_files_cannot_lead_out_of_the_folder(tmp_path):
    """An artifact's name is a file name, whatever it says."""
    written = service(
        {
            "GET /v1/jobs/job_1": {"id": "job_1", "role": None, "kind": "intake", "children": []},
            "GET /v1/jobs/job_1/artifacts": {"items": [artifact(1, name="../../outside")]},
            "GET /v1/artifacts/art_1/content": content(),
        }
    ).download("job_1", tmp_path / "out")
    assert written == [tmp_path / "out" / "outside"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_images_are_uploaded_from_a_zip_or_a_folder(tmp_path, is_folder):
    """Either arrives as a zip with its options and its length."""
    folder = tmp_path / "pets"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "0.png").write_bytes(b"an image")
    packed = tmp_path / "pets.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(folder / "cat" / "0.png", "cat/0.png")
    received = []

    def take(request):
        received.append((request.headers["content-length"], request.read()))
        return {"name": "pets", "state": "checking"}

    path = "POST /v1/datasets?name=pets&resize=32&test_fraction=0.25"
    client = service({path: take})
    client.upload_dataset("pets", folder if is_folder else packed, resize=32, test_fraction=0.25)
    ((length, body),) = received
    assert int(length) == len(body)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "cat/0.png": b"an image"
        }


def test_an_upload_whose_connection_breaks_is_sent_again_whole_under_its_key(tmp_path):
    """Nobody knows whether the first has arrived: the service knows the second as the same."""
    path, received = tmp_path / "mine.npz", []
    path.write_bytes(b"bytes of an upload" * 100)

    def take(request):
        received.append((request.headers["idempotency-key"], request.read()))
        if len(received) == 1:
            raise httpx.ReadError("the connection broke")
        return {"name": "mine", "state": "checking"}

    service({"POST /v1/logits?name=mine": take}).upload_logits("mine", path)
    assert received[0] == received[1]
    assert received[0][1] == path.read_bytes()
