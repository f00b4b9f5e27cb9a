import itertools
import socket
import string

import pytest

from app.shared.settings import Settings
from tests.api.serving import problem, running_api


def test_a_request_id_is_taken_over(shared_api):
    """A well-formed id of the caller's comes back."""
    answer = shared_api.client.get("/nowhere", headers={"X-Request-ID": "Mine_1-a"})
    assert problem(answer, 404)["request_id"] == "Mine_1-a"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "a;b"])
def test_an_odd_request_id_is_replaced(shared_api, given):
    """What could harm a log is not taken over."""
    answer = shared_api.client.get("/healthz", headers={"X-Request-ID": given.encode("latin-1")})
    assert answer.headers["x-request-id"].startswith("req_")


def test_each_request_has_an_id_of_its_own(shared_api):
    """Ids that are made are not made twice."""
    ids = {shared_api.client.get("/healthz").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/v1/jobs/", "/v1/nothing/x", "/v1/jobs/x/y", "/v1/jobs/%2e%2e/%00"],
)
def test_unknown_addresses_are_404(shared_api, path):
    """There is nothing there, in the one form all refusals have."""
    assert problem(shared_api.client.get(path), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("DELETE", "/v1/datasets", "GET, HEAD, POST"),
        ("PUT", "/v1/jobs/job_00000000000000000000000000", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/v1/jobs/job_00000000000000000000000000/cancel", "POST"),
        ("POST", "/v1/artifacts/art_00000000000000000000000000/content", "GET, HEAD"),
    ],
)
def test_wrong_methods_are_405_and_name_the_right_ones(shared_api, method, path, allowed):
    """Allow lists every method of the address."""
    answer = shared_api.client.request(method, path)
    problem(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/job_x",
        "/v1/jobs/" + "x" * 20_000,
        "/v1/jobs/job_0000000000000000000000000%00",
        "/v1/jobs/job_00000000000000000000000000",
        "/v1/models/job_00000000000000000000000000",
        "/v1/models/mdl_00000000000000000000000000",
        "/v1/reports/rep_0000000000000000000000000é",
        "/v1/datasets/%00",
        "/v1/datasets/nothing",
        "/v1/artifacts/art_00000000000000000000000000",
        "/v1/artifacts/art_00000000000000000000000000/content",
        "/v1/jobs/job_00000000000000000000000000/events",
        "/v1/jobs/job_00000000000000000000000000/log",
        "/v1/jobs/job_00000000000000000000000000/artifacts",
    ],
)
def test_what_does_not_exist_is_404(shared_api, path):
    """Ids, well-formed or not, that stand for nothing."""
    body = problem(shared_api.client.get(path), 404)
    assert len(body["instance"]) <= 200


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("page_size=0", "/query/page_size"),
        ("page_size=201", "/query/page_size"),
        ("page_size=99999999999999999999", "/query/page_size"),
        ("page_size=1.5", "/query/page_size"),
        ("state=done", "/query/state"),
        ("kind=sweep", "/query/kind"),
        ("parent=x", "/query/parent"),
        ("dataset=%00", "/query/dataset"),
    ],
)
def test_odd_parameters_are_pointed_at(shared_api, query, pointer):
    """A parameter that is wrong is refused, not ignored."""
    body = problem(shared_api.client.get(f"/v1/jobs?{query}"), 422)
    assert [one["pointer"] for one in body["errors"]] == [pointer]
    assert ", got " in body["errors"][0]["detail"]


def test_an_unknown_parameter_is_told_with_the_one_that_may_be_meant(shared_api):
    """It is refused, not ignored."""
    (one,) = problem(shared_api.client.get("/v1/jobs?stat=failed"), 422)["errors"]
    assert one["pointer"] == "/query/stat"
    assert one["detail"] == 'there is no field of this name; did you mean "state"?'


@pytest.mark.parametrize("token", ["x", "é", "bm90aGluZw==", "%00", "a" * 200])
def test_odd_page_tokens_are_400(shared_api, token):
    """Only what a list has handed out is taken back."""
    answer = shared_api.client.get("/v1/jobs", params={"page_token": token})
    assert problem(answer, 400)["code"] == "invalid_page_token"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/JSON; charset=utf-8"}, 400),
    ],
)
def test_bodies_have_to_be_declared_as_json(shared_api, headers, status):
    """Only application/json is read at all."""
    problem(shared_api.client.post("/v1/jobs", content=b"nothing", headers=headers), status)


def test_a_body_declared_too_long_is_413(shared_api):
    """Content-Length alone is enough."""
    body = b" " * 1_000_001
    headers = {"Content-Type": "application/json"}
    assert problem(shared_api.client.post("/v1/jobs", content=body, headers=headers), 413)


def test_a_body_that_becomes_too_long_is_413(shared_api):
    """Without a declared length the bytes are counted as they come."""
    chunks = (b" " * 100_000 for _ in range(11))
    headers = {"Content-Type": "application/json"}
    assert problem(shared_api.client.post("/v1/jobs", content=chunks, headers=headers), 413)


def test_an_unmigrated_database_is_not_ready_and_fails_without_a_word_of_it(tmp_path):
    """The probe says what is missing; any other request is a 500 that tells no internals."""
    with running_api(Settings(data_folder=tmp_path)) as api:
        unready = problem(api.client.get("/readyz"), 503, members={"readiness", "checks"})
        assert unready["code"] == "not_migrated"
        answer = api.client.get("/v1/jobs")
        body = problem(answer, 500)
        assert body["code"] == "internal"
        assert "jobs" not in answer.text.replace("/v1/jobs", "")


def test_a_database_that_is_away_is_503(tmp_path):
    """The client is told to come back."""
    url = f"postgresql+psycopg://postgres@/x?host={tmp_path}"
    with running_api(Settings(data_folder=tmp_path, database_url=url)) as api:
        answer = api.client.get("/v1/jobs")
        assert problem(answer, 503)["code"] == "database_unavailable"
        assert answer.headers["retry-after"] == "5"
        problem(api.client.get("/readyz"), 503, members={"readiness", "checks"})
        assert api.client.get("/healthz").status_code == 200


def test_what_is_no_http_does_not_harm(shared_api):
    """The service goes on after garbage on its port."""
    url = shared_api.client.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(b"\x16\x03\x01garbage\r\n\r\n")
        connection.recv(1000)
    assert shared_api.client.get("/healthz").status_code == 200


def test_head_is_wherever_get_is(shared_api):
    """The same status and headers without a body, of every address of the document; streams end."""
    job = shared_api.submit("distill", {"dataset": "digits"})["id"]
    shared_api.client.post(f"/v1/jobs/{job}/cancel")
    paths = shared_api.client.get("/openapi.json").json()["paths"]
    readable = [path for path, methods in paths.items() if "get" in methods]
    assert len(readable) > 20
    for path in ["/", "/openapi.json", *readable]:
        at = path.replace("{job_id}", job).replace("{name}", "digits")
        head, get = shared_api.client.head(at), shared_api.client.get(at)
        assert (head.status_code, head.content) == (get.status_code, b""), at
        if head.status_code == 200 and path not in {"/", "/metrics", "/readyz"}:
            assert head.headers["content-type"] == get.headers["content-type"]


def test_a_query_says_each_thing_once(shared_api):
    """Which of two values would count is for nobody to guess; every address refuses it."""
    for path in ("/v1/jobs", "/v1/datasets", "/v1/models", "/readyz"):
        body = problem(shared_api.client.get(path + "?a=1&b=2&a=1"), 422)
        assert [(one["pointer"], one["code"]) for one in body["errors"]] == [
            ("/query/a", "repeated")
        ]


def test_a_query_of_very_many_parameters_is_refused_at_once(shared_api):
    """Nobody needs a key for it, and all other requests would wait while it is read."""
    names = map("".join, itertools.product(string.ascii_lowercase, repeat=3))
    query = "&".join(itertools.islice(names, 10_000))
    body = problem(shared_api.client.get(f"/healthz?{query}"), 422)
    assert [(one["pointer"], one["code"]) for one in body["errors"]] == [("/query", "too_many")]
