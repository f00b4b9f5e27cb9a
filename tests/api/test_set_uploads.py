"""Distilled sets made elsewhere, over HTTP: taken by a job, refused in words, used like others."""

import io

import numpy as np
import pytest
import torch

from ddcal_core.formats.manifests import SetManifest
from tests.api.serving import problem, refusals
from tests.core.formats.stored import set_manifest


def npz(n_images=10, **changes):
    """The bytes of a set of digits."""
    arrays = {
        "images": np.random.default_rng(0).normal(size=(n_images, 1, 8, 8)).astype(np.float32),
        "labels": np.arange(n_images) % 10,
    }
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays | changes))
    return buffer.getvalue()


def upload(api, name="mine", content=None, headers=(), **query):
    """Post a set made from digits, standardised unless the query says otherwise."""
    return api.client.post(
        "/v1/distilled-sets",
        params={"name": name, "dataset": "digits", "space": "standardised", **query},
        content=npz() if content is None else content,
        headers={"Content-Type": "application/octet-stream", **dict(headers)},
    )


def training_on(api, reference):
    """Ask for a network on a set."""
    source = {"source": "distilled", "distilled_set": reference}
    return api.client.post("/v1/jobs", json={"kind": "train", "params": {"training_set": source}})


def take_in(api):
    """End the next intake as the intake process would, with one set."""
    manifest = set_manifest(dataset="digits", method="imported").as_json()
    api.succeed(api.claim("intake"), ("distilled_set", manifest, {}))


def test_a_set_is_taken_in_by_a_job_and_trained_on_by_its_id(api):
    """202 with the job, whose result is the set; a training waits for it, or names the set."""
    answer = upload(api, tag="env:prod", notes="from a paper")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["name"], job["dataset"]) == ("intake", "mine", "digits")
    assert (job["params"]["file_format"], job["params"]["n_sets"]) == ("npz", 1)
    source = {"source": "distilled", "distilled_set": job["id"]}
    waiting = api.client.post(
        "/v1/jobs", json={"kind": "train", "params": {"training_set": source}}
    )
    assert (waiting.status_code, waiting.json()["state"]) == (202, "blocked")
    take_in(api)
    assert api.job(waiting.json()["id"])["state"] == "queued"
    (found,) = api.client.get("/v1/distilled-sets").json()["items"]
    assert (found["job_id"], found["tags"]) == (job["id"], {"env": "prod"})
    assert [one["id"] for one in api.job(job["id"])["results"]] == [found["id"]]
    whole = api.client.get(f"/v1/distilled-sets/{found['id']}").json()
    assert whole["lineage"] == {"datasets": ["digits"]}
    assert SetManifest.model_validate(whole["details"], strict=False).method == "imported"


def test_a_job_of_several_sets_is_no_reference_to_one(api):
    """Which of them is for whoever asks to say."""
    buffer = io.BytesIO()
    images, labels = torch.randn(10, 1, 8, 8), torch.arange(10)
    torch.save({"data": [[images, labels], [images, labels]]}, buffer)
    job = upload(api, content=buffer.getvalue()).json()
    assert job["params"]["n_sets"] == 2
    answer = training_on(api, job["id"])
    assert refusals(answer) == [("/params/training_set/distilled_set", "several_sets")]
    one = upload(api, "one", content=buffer.getvalue(), experiment=1).json()
    assert one["params"]["n_sets"] == 1
    body = problem(upload(api, "none", content=buffer.getvalue(), experiment=2), 422)
    assert [e["pointer"] for e in body["errors"]] == ["/query/experiment"]


def test_the_job_and_its_sets_can_be_deleted(api):
    """Unlike the check of a data set, which is deleted with that."""
    job = upload(api).json()
    take_in(api)
    assert api.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert api.client.get("/v1/distilled-sets").json()["items"] == []


def test_a_request_sent_again_under_its_key_makes_one_job(api):
    """And is answered with that."""
    key = {"Idempotency-Key": "one"}
    first, second = upload(api, headers=key), upload(api, headers=key)
    assert first.json()["id"] == second.json()["id"]
    assert api.n_jobs() == 1
    assert len(api.uploads()) == 1


@pytest.mark.parametrize(
    ("query", "content", "words"),
    [
        ({"dataset": "digitz"}, None, 'did you mean "digits"'),
        ({"dataset": "mnist"}, None, "(M, 1, 28, 28); got (10, 1, 8, 8)"),
        ({"space": "jpeg"}, None, "space"),
        ({"learned_lr": 0}, None, "wanted more than 0"),
        ({"std": [0.5, 0.5]}, None, "std: wanted 1 numbers, one a channel; got 2"),
        ({}, npz(labels=np.arange(9)), "shape (10,); got (9,)"),
        ({}, npz(weights=np.zeros(3)), "'weights'"),
        ({}, b"PK no zip", "whole zip"),
        ({}, b"\x80\x02cos\nsystem\n.", "nothing is ever executed"),
        ({}, b"GIF89a, a picture", "got a file that starts with"),
    ],
)
def test_what_can_be_told_at_once_is_refused_at_once(shared_api, query, content, words):
    """422 in words; no job and no file is left."""
    before = shared_api.n_jobs()
    body = problem(upload(shared_api, content=content, **query), 422)
    assert words in str(body)
    assert shared_api.uploads() == []
    assert shared_api.n_jobs() == before


def test_a_whitened_set_without_its_matrix_is_taken_in_by_what_computes(api):
    """Its matrix is fitted on the data set's images, which have to be here."""
    answer = upload(api, space="zca", zca_eps=0.1)
    assert answer.status_code == 202
    job = api.claim("gpu")
    assert (job.id, job.kind) == (answer.json()["id"], "intake")
    assert job.params["options"]["zca_eps"] == 0.1


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"space": "pixels", "zca_eps": 0.1}, ("/query/zca_eps", "not_applicable")),
        ({"space": "zca", "zca_eps": 0}, ("/query/zca_eps", "out_of_range")),
        (
            {"space": "zca", "zca_eps": 0.1, "dataset": "cifar10"},
            ("/query/dataset", "dataset_unavailable"),
        ),
    ],
)
def test_a_matrix_that_cannot_be_fitted_is_refused(api, query, refusal):
    """At once, by the parameter."""
    assert refusals(upload(api, **query)) == [refusal]
