"""A file whose bytes are no longer those of its sha256 is not sent, whatever is asked of it."""

import shutil

import pytest

from tests.api.serving import SET, problem
from tests.damage import flip_a_bit

BYTES = bytes(range(256)) * 40
FILES = {
    "distilled_set.safetensors": BYTES,
    "manifest.json": b'{"version": 2}',
    "set.npz": BYTES,
    "images.png": b"\x89PNG" + BYTES,
    "model.safetensors": BYTES,
    "scaling.json": b"{}",
    "report.html": b"<!doctype html><p>report</p>",
    "report.json": b'{"rows": []}',
}


@pytest.fixture
def made(api):
    """A job with a file of each kind: its id, and addresses and paths by name."""
    params = {"dataset": "digits", "distill": {"images_per_class": 1}}
    job_id, (set_id,) = api.make("distill", params, ("distilled_set", SET, FILES))
    artifacts = api.client.get(f"/v1/distilled-sets/{set_id}").json()["artifacts"]
    urls = {file["name"]: file["url"] for file in artifacts}
    paths = {file["name"]: api.store.path(job_id, file["sha256"]) for file in artifacts}
    return job_id, urls, paths


def damaged(answer):
    """The words of an answer that says that a file is damaged, and nothing else."""
    told = problem(answer, 500)
    assert told["code"] == "file_damaged"
    assert "etag" not in answer.headers
    assert "repr-digest" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    return told["detail"]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_never_served(api, made, name):
    """Whole, a range that does not hold it, or the headers alone; size and mtime as they were."""
    job_id, urls, paths = made
    assert api.client.get(urls[name]).content == FILES[name]
    flip_a_bit(paths[name])
    detail = damaged(api.client.get(urls[name]))
    assert name in detail
    assert f"submit the request of {job_id}, or of its pipeline, again" in detail
    damaged(api.client.get(urls[name], headers={"Range": "bytes=0-1"}))
    head = api.client.head(urls[name])
    assert (head.status_code, head.headers.get("etag")) == (500, None)


def test_the_other_files_are_served(api, made):
    """Damage is a file's, not a job's; equal bytes are one file."""
    _, urls, paths = made
    flip_a_bit(paths["report.json"])
    assert api.client.get(urls["report.html"]).status_code == 200
    assert api.client.get(urls["set.npz"]).status_code == 200


def test_a_file_put_back_is_served_again(api, made, tmp_path):
    """From a backup."""
    _, urls, paths = made
    backup = shutil.copy(paths["set.npz"], tmp_path / "backup")
    flip_a_bit(paths["set.npz"])
    damaged(api.client.get(urls["set.npz"]))
    shutil.copy(backup, paths["set.npz"])
    assert api.client.get(urls["set.npz"]).content == BYTES


def test_a_file_that_is_gone_is_damage_where_its_row_is_not(api, made):
    """A deleted job's is not found, one that has got lost is missing."""
    job_id, urls, paths = made
    paths["report.json"].unlink()
    assert "it is missing" in damaged(api.client.get(urls["report.json"]))
    api.client.delete(f"/v1/jobs/{job_id}").raise_for_status()
    assert problem(api.client.get(urls["report.html"]), 404)["code"] == "artifact_not_found"


def test_whoever_has_the_bytes_is_told_so(api, made):
    """304 speaks of the client's copy, which has this ETag for good reason."""
    _, urls, paths = made
    etag = api.client.get(urls["set.npz"]).headers["etag"]
    flip_a_bit(paths["set.npz"])
    answer = api.client.get(urls["set.npz"], headers={"If-None-Match": etag})
    assert answer.status_code == 304
