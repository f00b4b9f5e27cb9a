from concurrent.futures import ThreadPoolExecutor

import pytest

from app.shared.engine.idempotency import (
    KeyedRequest,
    fingerprint,
    forget_keys,
    is_key_taken,
    take_key,
)
from tests.api.npz import npz, upload_logits
from tests.api.serving import SET, problem

DISTILL = {"kind": "distill", "params": {"dataset": "digits"}}
OTHER = {"kind": "distill", "params": {"dataset": "digits", "seed": 1}}
REPLAYED = "idempotent-replayed"


def post(api, body=DISTILL, **headers):
    """Submit a job under a key."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.client.post("/v1/jobs", json=body, headers=named)


def upload(api, content, *, name="mine", key="k", **query):
    """Upload a data set under a key."""
    return api.client.post(
        "/v1/datasets",
        params={"name": name, **query},
        content=content,
        headers={"Content-Type": "application/zip", "Idempotency-Key": key},
    )


def test_a_request_sent_again_finds_its_job_as_it_is_now(api):
    """Whatever the order of names, quoted or bare: one job, and the answer says it is a replay."""
    first = post(api, Idempotency_Key="k-1")
    assert (first.status_code, REPLAYED in first.headers) == (202, False)
    api.succeed(api.claim(), ("distilled_set", SET, {}))
    turned = dict(reversed(DISTILL.items()))
    for key in ("k-1", '"k-1"'):
        again = post(api, turned, Idempotency_Key=key)
        assert (again.status_code, again.headers[REPLAYED]) == (202, "true")
        assert again.headers["location"] == first.headers["location"]
        assert "retry-after" not in again.headers
        assert again.json() == api.job(first.json()["id"])
        assert again.json()["state"] == "succeeded"
    assert api.n_jobs() == 1


def test_a_pipeline_sent_again_is_one_pipeline(api):
    """Children and all."""
    asked = {"kind": "pipeline", "params": {"dataset": "digits", "calibrate": [{"method": "none"}]}}
    first, again = (post(api, asked, Idempotency_Key="k").json() for _ in range(2))
    assert again == first
    assert api.n_jobs() == 1 + len(first["children"])


def test_without_a_key_every_request_makes_a_job(api):
    """As ever."""
    assert post(api).json()["id"] != post(api).json()["id"]


def test_another_request_under_the_key_is_refused(api):
    """422, and nothing of it is stored."""
    post(api, Idempotency_Key="k")
    answer = post(api, OTHER, Idempotency_Key="k")
    assert problem(answer, 422)["code"] == "idempotency_key_reused"
    assert api.n_jobs() == 1


def test_what_is_refused_leaves_its_key_free(api):
    """By its fields, or by what there is: the key belongs to the first that is carried out."""
    wrong = {"kind": "distill", "params": {"dataset": "nothing"}}
    for refused in (wrong, {"kind": "distill", "params": {}}):
        problem(post(api, refused, Idempotency_Key="k"), 422)
    assert post(api, Idempotency_Key="k").status_code == 202


def test_a_key_outlives_its_job(api):
    """A job deleted meanwhile is not made again: 410."""
    job_id = post(api, Idempotency_Key="k").json()["id"]
    api.client.post(f"/v1/jobs/{job_id}/cancel")
    api.client.delete(f"/v1/jobs/{job_id}")
    assert problem(post(api, Idempotency_Key="k"), 410)["code"] == "job_deleted"
    assert api.n_jobs() == 0


def test_twenty_at_once_make_one_job(api):
    """All are answered with it, one of them as the first."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(api, Idempotency_Key="k"), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert api.n_jobs() == 1


@pytest.mark.parametrize(
    "key",
    [
        "",
        '""',
        '"a',
        'a" "b',
        "a b",
        '"a b"',
        '"a\\b"',
        "x" * 256,
        f'"{"x" * 256}"',
        "ü",
        '"a";b=1',
    ],
)
def test_odd_keys_are_400(shared_api, key):
    """Neither a structured field's string nor bare visible characters."""
    answer = post(shared_api, Idempotency_Key=key.encode())
    assert problem(answer, 400)["code"] == "invalid_idempotency_key"


def test_two_keys_are_400(shared_api):
    """Which one would it be?"""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = shared_api.client.post("/v1/jobs", json=DISTILL, headers=headers)
    assert problem(answer, 400)["code"] == "invalid_idempotency_key"


@pytest.mark.parametrize(
    ("quoted", "bare"), [(r'"a\"b\\c"', r'a"b\c'), (f'"{"y" * 255}"', "y" * 255)]
)
def test_quotes_and_backslashes_are_unescaped(shared_api, quoted, bare):
    """The longest key, and one that needs escapes, are the same key in either form."""
    first, again = (post(shared_api, Idempotency_Key=key) for key in (quoted, bare))
    assert (first.status_code, again.json()["id"]) == (202, first.json()["id"])


def test_an_upload_sent_again_finds_its_data_set(api):
    """The same bytes under the same key: one data set, one check, one file."""
    content = npz()
    first = upload(api, content)
    assert (first.status_code, REPLAYED in first.headers) == (202, False)
    api.check_upload()
    again = upload(api, content)
    assert (again.status_code, again.headers[REPLAYED]) == (202, "true")
    assert again.json()["job_id"] == first.json()["job_id"]
    assert again.json()["state"] == "ready"
    assert (api.n_jobs(), len(api.uploads())) == (1, 1)


def test_another_upload_under_the_key_is_refused(api):
    """Other bytes or another name; a key of one collection is none of another's."""
    upload(api, npz())
    for answer in (upload(api, npz(class_names=["a", "b"])), upload(api, npz(), name="other")):
        assert problem(answer, 422)["code"] == "idempotency_key_reused"
    assert problem(upload(api, npz(), key="k2"), 409)["code"] == "dataset_exists"
    assert len(api.uploads()) == 1
    assert post(api, Idempotency_Key="k").status_code == 202


def test_an_upload_deleted_meanwhile_is_gone(api):
    """410, and the name is free for another key."""
    upload(api, npz())
    api.check_upload()
    api.client.delete("/v1/datasets/mine")
    assert problem(upload(api, npz()), 410)["code"] == "upload_deleted"
    assert api.uploads() == []
    assert upload(api, npz(), key="k2").status_code == 202


def test_logits_take_keys_too(api):
    """The other upload."""
    api.client.headers["Idempotency-Key"] = "k"
    first, again = (upload_logits(api) for _ in range(2))
    assert (again.status_code, again.headers[REPLAYED]) == (202, "true")
    assert again.json() == first.json()


def test_keys_are_each_owners_own_and_forgotten_when_old(api):
    """Another owner's key is another key; a forgotten one is free again."""
    asked = KeyedRequest(path="/v1/jobs", key="k", fingerprint=fingerprint({"b": 1, "a": 2}))
    assert asked.fingerprint == fingerprint({"a": 2, "b": 1})
    with api.database.write() as connection:
        assert take_key(connection, "one", asked, "job_1") is None
        assert take_key(connection, "two", asked, "job_2") is None
        assert forget_keys(connection, 60) == 0
        assert is_key_taken(connection, "one", path="/v1/jobs", key="k")
        assert forget_keys(connection, -1) == 2
        assert not is_key_taken(connection, "one", path="/v1/jobs", key="k")
