import hashlib
import io
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from app.shared.settings import Settings
from tests.api.npz import GOOD, npz, npz_bytes
from tests.api.serving import FACTS, problem, running_api
from tests.waiting import until

NAMED = ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"]


def upload(api, name="mine", **changes):
    """Post a .npz under a name."""
    return api.client.post("/v1/datasets", params={"name": name}, **npz_bytes(**changes))


def test_named_sets_are_listed_with_what_is_available(shared_api):
    """Digits needs no file; the others say why they cannot be used."""
    items = shared_api.client.get("/v1/datasets").json()["items"]
    assert [item["name"] for item in items] == NAMED
    assert [item["available"] for item in items] == [True] + [False] * 5
    assert "downloads are off" in items[1]["why_not"]
    assert items[0]["facts"]["image_shape"] == [1, 8, 8]
    assert (items[0]["facts"]["n_train"], items[0]["facts"]["n_test"]) == (1297, 500)


def test_an_upload_is_accepted_and_checked_by_a_job(api):
    """202; checking, with its digest; then ready with its facts, and listed."""
    content = npz()
    answer = upload(api)
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/datasets/mine"
    assert (body["state"], body["available"], body["source"]) == ("checking", False, "upload")
    assert body["n_bytes"] == len(content)
    job = api.job(body["job_id"])
    assert (job["kind"], job["state"], job["dataset"]) == ("intake", "queued", "mine")
    (path,) = api.uploads()
    assert path.name == job["params"]["upload"]
    assert body["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    api.check_upload()
    ready = api.client.get("/v1/datasets/mine").json()
    assert (ready["state"], ready["available"], ready["why_not"]) == ("ready", True, None)
    assert ready["facts"]["class_names"] == FACTS["class_names"]
    assert ready["facts"]["n_train"] == 50
    listed = api.client.get("/v1/datasets").json()["items"]
    assert [item["name"] for item in listed] == [*NAMED, "mine"]


def test_a_rejected_upload_says_why(api):
    """The problem that only decoding could tell."""
    upload(api)
    api.check_upload(problem={"code": "labels", "detail": "label 7 is out of range"})
    body = api.client.get("/v1/datasets/mine").json()
    assert (body["state"], body["available"]) == ("rejected", False)
    assert body["problem"] == {"code": "labels", "detail": "label 7 is out of range"}
    assert body["why_not"] == "label 7 is out of range"


def bomb():
    """A small zip that declares, and holds, a far larger array."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**GOOD, "x_train": np.zeros((200_000, 8, 8), np.uint8)})
    return buffer.getvalue()


def zip_of(**files):
    """A zip that is no .npz."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "zip"),
        (b"nothing like it", "zip"),
        (npz()[:-100], "zip"),
        (zip_of(readme="text"), "x_train"),
        (npz(x_train=np.array([{"evil": 1}] * 50, dtype=object)), "object"),
        (npz(x_train=None), "x_train"),
        (npz(extra=np.zeros(3)), "extra"),
        (npz(x_train=np.zeros((50, 8, 8), np.float32)), "<f4"),
        (npz(x_train=np.zeros((50, 8, 8), np.int16)), "uint8"),
        (npz(y_train=np.arange(49)), "one label an image"),
        (npz(y_train=np.zeros(50, np.float64)), "integer"),
        (npz(x_test=np.zeros((10, 9, 8), np.uint8)), "one shape"),
        (npz(x_train=np.zeros((0, 8, 8), np.uint8), y_train=np.zeros(0, int)), "at least one"),
        (bomb(), "ratio"),
    ],
)
def test_a_wrong_structure_is_refused_at_once(shared_api, content, words):
    """422 that says what was wanted and got; no data set, no job, no file."""
    before = shared_api.n_jobs()
    answer = shared_api.client.post(
        "/v1/datasets",
        params={"name": "mine"},
        content=content,
        headers={"Content-Type": "application/zip"},
    )
    assert words in problem(answer, 422)["detail"]
    assert shared_api.uploads() == []
    assert shared_api.n_jobs() == before
    problem(shared_api.client.get("/v1/datasets/mine"), 404)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 65, "é", "a\0b", "a\n"])
def test_odd_names_are_refused(shared_api, name):
    """Names are plain, so that they are safe in addresses and messages."""
    answer = upload(shared_api, name)
    assert [one["pointer"] for one in problem(answer, 422)["errors"]] == ["/query/name"]
    assert shared_api.uploads() == []


def test_a_name_is_needed(shared_api):
    """Without one there is nothing to call it by."""
    problem(shared_api.client.post("/v1/datasets", **npz_bytes()), 422)


@pytest.mark.parametrize("name", NAMED)
def test_names_of_the_services_own_sets_are_taken(shared_api, name):
    """Nobody can shadow them, and nobody can delete them."""
    assert problem(upload(shared_api, name), 409)["code"] == "dataset_exists"
    assert problem(shared_api.client.delete(f"/v1/datasets/{name}"), 409)["code"] == "dataset_named"


def test_a_name_is_given_once(api):
    """The second upload of a name is refused and leaves no file."""
    upload(api)
    assert problem(upload(api), 409)["code"] == "dataset_exists"
    assert len(api.uploads()) == 1


def test_of_two_uploads_at_once_one_gets_the_name(api):
    """Whoever commits first has it; the other's file and job are gone."""
    statuses = []

    def post():
        statuses.append(upload(api).status_code)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202, 409, 409, 409]
    assert len(api.uploads()) == 1
    assert api.n_jobs() == 1


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/x-www-form-urlencoded", ""]
)
def test_uploads_are_files(shared_api, media_type):
    """Raw or in a form of files; nothing else."""
    answer = shared_api.client.post(
        "/v1/datasets", params={"name": "mine"}, content=npz(), headers={"Content-Type": media_type}
    )
    problem(answer, 415)


@pytest.fixture
def small_api(migrated_sqlite, tmp_path):
    """A service that takes 3,000 bytes."""
    copy = tmp_path / "ddcal.sqlite"
    copy.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(
        data_folder=tmp_path, database_url=f"sqlite:///{copy}", max_upload_bytes=3_000
    )
    with running_api(settings) as api:
        yield api


def test_an_upload_declared_too_long_is_413(small_api):
    """Before a byte of it is written."""
    assert problem(upload(small_api), 413)["code"] == "too_large"
    assert not small_api.settings.upload_folder.exists()


def test_an_upload_that_becomes_too_long_is_413(small_api):
    """Bytes are counted as they come; what was written is gone."""
    answer = small_api.client.post(
        "/v1/datasets",
        params={"name": "mine"},
        content=(b"x" * 1_000 for _ in range(4)),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert problem(answer, 413)["code"] == "too_large"
    assert small_api.uploads() == []


def test_an_upload_of_exactly_the_limit_is_read(small_api):
    """The limit itself is within it: this one fails for what it holds."""
    answer = small_api.client.post(
        "/v1/datasets",
        params={"name": "mine"},
        content=b"x" * 3_000,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert problem(answer, 422)["code"] == "invalid_data"


def test_a_client_that_goes_away_leaves_no_file(shared_api):
    """Half an upload is none."""
    url = shared_api.client.base_url
    head = (
        f"POST /v1/datasets?name=mine HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n"
        "Content-Type: application/zip\r\nContent-Length: 5000000\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(head.encode() + b"x" * 2_000_000)
        until(lambda: len(shared_api.uploads()) == 1)
    until(lambda: shared_api.uploads() == [])
    problem(shared_api.client.get("/v1/datasets/mine"), 404)


def test_an_unused_upload_is_deleted_with_its_files(api):
    """Row, job, files; its name is free again."""
    upload(api)
    api.check_upload()
    assert api.client.delete("/v1/datasets/mine").status_code == 204
    problem(api.client.get("/v1/datasets/mine"), 404)
    assert api.uploads() == []
    assert api.n_jobs() == 0
    assert upload(api).status_code == 202


def test_an_upload_in_use_is_not_deleted(api):
    """Not while a job on it has not ended, and not while it is being checked."""
    upload(api)
    assert problem(api.client.delete("/v1/datasets/mine"), 409)["code"] == "dataset_in_use"
    api.check_upload()
    job_id = api.submit("distill", {"dataset": "mine"})["id"]
    assert problem(api.client.delete("/v1/datasets/mine"), 409)["code"] == "dataset_in_use"
    api.client.post(f"/v1/jobs/{job_id}/cancel")
    assert api.client.delete("/v1/datasets/mine").status_code == 204


def test_the_job_of_a_data_set_goes_with_it_alone(api):
    """Deleting the check would take the data set along unseen."""
    job_id = upload(api).json()["job_id"]
    api.check_upload()
    assert problem(api.client.delete(f"/v1/jobs/{job_id}"), 409)["code"] == "job_of_dataset"


def test_a_data_set_that_does_not_exist_is_404(shared_api):
    """Looked at or deleted."""
    problem(shared_api.client.get("/v1/datasets/nothing"), 404)
    problem(shared_api.client.delete("/v1/datasets/nothing"), 404)
