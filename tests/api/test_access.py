"""The door: who is let in, who is led to the login, and which changes are refused."""

import base64
import logging
from pathlib import Path

import pytest

from app.api.http.api_key import ApiKey
from app.main import create_app
from app.shared.settings import Settings, SettingsError
from tests.api.serving import problem, running_api
from tests.api.test_results import DISTILL

KEY = "a-key-of-some-length"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BEARER = {"Authorization": f"Bearer {KEY}"}
JOB = {"kind": "distill", "params": DISTILL}


@pytest.fixture(scope="module")
def keyed_api(migrated_sqlite, tmp_path_factory):
    """A service that needs a key."""
    folder = tmp_path_factory.mktemp("keyed")
    database = folder / "ddcal.sqlite"
    database.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(data_folder=folder, database_url=f"sqlite:///{database}", api_key=KEY)
    with running_api(settings) as api:
        yield api


@pytest.fixture
def visitor(keyed_api):
    """A client that forgets its cookies after each test."""
    keyed_api.client.cookies.clear()
    yield keyed_api.client
    keyed_api.client.cookies.clear()


@pytest.fixture
def session(visitor):
    """Headers of a browser that has logged in."""
    name = f"ddcal-session-{visitor.base_url.port}"
    return {"Cookie": f"{name}={ApiKey(KEY).begin_session()}"}


def basic(password, user="me"):
    """An Authorization header as browsers send it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def csrf(session):
    """The token that belongs to a session's cookie."""
    return ApiKey(KEY).csrf_token(session["Cookie"].partition("=")[2])


def test_an_application_without_a_key_has_to_say_so():
    """Forgetting the key opens nothing."""
    with pytest.raises(SettingsError, match="the API needs a key"):
        create_app(Settings())


@pytest.mark.parametrize("path", ["/readyz", "/openapi.json", "/metrics", "/v1/jobs", "/nowhere"])
def test_without_the_key_everything_is_refused(visitor, path):
    """Every address, existing or not, answers 401 and says how to come in."""
    answer = visitor.get(path)
    assert problem(answer, 401)["code"] == "api_key_needed"
    problem(visitor.post(path), 401)


@pytest.mark.parametrize(
    "given", ["Bearer wrong", f"Bearer {KEY}x", basic("wrong"), basic(f"{KEY}x"), "Bearer é"]
)
def test_a_wrong_key_is_refused_and_noted(visitor, given, caplog):
    """On pages, too; the log tells from where it came, and not the key."""
    caplog.set_level(logging.WARNING)
    answer = visitor.get("/", headers={"Authorization": given.encode("latin-1")})
    assert problem(answer, 401)["code"] == "api_key_wrong"
    noted = [record for record in caplog.records if record.msg == "a wrong API key"]
    assert [record.client for record in noted] == ["127.0.0.1"]


@pytest.mark.parametrize("given", [KEY, "Basic %%%", f"Digest {KEY}", "Bearer", ""])
def test_what_is_no_credential_is_no_key(visitor, given):
    """A key without its scheme, and schemes that are not taken."""
    answer = visitor.get("/v1/jobs", headers={"Authorization": given})
    assert problem(answer, 401)["code"] == "api_key_needed"


def test_each_challenge_has_a_line_of_its_own(visitor):
    """Chromium cannot read two in one."""
    lines = visitor.get("/v1/jobs").headers.get_list("www-authenticate")
    assert [line.partition(" ")[0] for line in lines] == ["Bearer", "Basic"]


@pytest.mark.parametrize("path", ["/", "/readyz", "/openapi.json", "/v1/jobs"])
@pytest.mark.parametrize(
    "given", [f"Bearer {KEY}", f"bearer  {KEY}", basic(KEY), basic(KEY, ""), basic(KEY, "é")]
)
def test_with_the_key_everything_is_open(visitor, path, given):
    """As a bearer token, or as Basic's password under any user name."""
    assert visitor.get(path, headers={"Authorization": given}).status_code == 200


@pytest.mark.parametrize("given", [f"Bearer {KEY}", basic(KEY)])
def test_the_key_changes_things(visitor, given):
    """Of a program, which is no browser, in either way."""
    answer = visitor.post("/v1/jobs", headers={"Authorization": given}, json=JOB)
    assert answer.status_code == 202


def test_health_needs_no_key(visitor):
    """A probe knows no keys."""
    assert visitor.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("path", "accept", "to"),
    [
        ("/", "*/*", "/login"),
        ("/", HTML["Accept"], "/login"),
        ("/docs", "*/*", "/login?next=/docs"),
        ("/?x=1&y=%2F", "*/*", "/login?next=/%3Fx%3D1%26y%3D%252F"),
        ("/v1/jobs?state=failed", HTML["Accept"], "/login?next=/v1/jobs%3Fstate%3Dfailed"),
        ("/nowhere", HTML["Accept"], "/login?next=/nowhere"),
    ],
)
def test_people_are_led_to_the_login(visitor, path, accept, to):
    """Pages, and whatever a browser shows; the login knows where they wanted to go."""
    answer = visitor.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["location"]) == (303, to)


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json, */*"])
def test_programs_are_told_on_pages_too(visitor, accept):
    """Who wants JSON gets a problem, not a page."""
    problem(visitor.get("/", headers={"Accept": accept}), 401)


def test_a_session_opens_everything(visitor, session):
    """Pages, lists, and the events that a page follows."""
    for path in ("/", "/v1/jobs", "/openapi.json"):
        assert visitor.get(path, headers=session).status_code == 200
    job = visitor.post("/v1/jobs", headers=BEARER, json=JOB).json()
    stream = {**session, "Accept": "text/event-stream", "Sec-Fetch-Site": "same-origin"}
    with visitor.stream("GET", f"/v1/jobs/{job['id']}/events", headers=stream) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        assert next(events.iter_lines()).startswith(("id:", "event:", "retry:", ":"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cookie: cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        lambda cookie: "9" + cookie[1:],
        lambda cookie: cookie.rpartition(".")[0],
        lambda _: "",
        lambda _: ApiKey("another-key-of-some-length").begin_session(),
        lambda _: ApiKey(KEY, now=lambda: 1e9).begin_session(),
    ],
)
def test_a_session_that_is_none(visitor, session, spoil):
    """Altered, of another key, or over."""
    name, _, cookie = session["Cookie"].partition("=")
    headers = {"Cookie": f"{name}={spoil(cookie)}"}
    problem(visitor.get("/v1/jobs", headers=headers), 401)
    assert visitor.get("/", headers=headers).status_code == 303


def test_a_change_under_a_session_needs_its_token(visitor, session):
    """The cookie alone changes nothing; another session's token neither."""
    for given in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "é".encode("latin-1")}):
        answer = visitor.post("/v1/jobs", headers={**session, **given}, json=JOB)
        assert problem(answer, 403)["code"] == "csrf_token_needed"
    other = ApiKey(KEY).csrf_token(ApiKey(KEY).begin_session())
    answer = visitor.post("/v1/jobs", headers={**session, "X-CSRF-Token": other}, json=JOB)
    problem(answer, 403)
    headers = {**session, "X-CSRF-Token": csrf(session)}
    job = visitor.post("/v1/jobs", headers=headers, json=JOB)
    assert job.status_code == 202
    path = f"/v1/jobs/{job.json()['id']}"
    problem(visitor.post(f"{path}/cancel", headers=session), 403)
    assert visitor.post(f"{path}/cancel", headers=headers).status_code == 200
    problem(visitor.delete(path, headers=session), 403)
    assert visitor.delete(path, headers=headers).status_code == 204


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://HOST"},
]


def of_host(headers, client):
    """With the service's own host and port where the words say HOST."""
    host = f"{client.base_url.host}:{client.base_url.port}"
    return {name: value.replace("HOST", host) for name, value in headers.items()}


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_changes_of_another_site_are_refused(visitor, session, headers, method):
    """Whatever comes with them: a key, Basic as a browser resends it, a session with its token."""
    token = {**session, "X-CSRF-Token": csrf(session)}
    for identity in (BEARER, {"Authorization": basic(KEY)}, token, {}):
        given = {**identity, **of_host(headers, visitor)}
        answer = visitor.request(method, "/v1/jobs", headers=given, json=JOB)
        assert problem(answer, 403)["code"] == "cross_site_request"


@pytest.mark.parametrize("headers", FOREIGN)
def test_without_a_key_they_are_refused_as_well(shared_api, headers):
    """A page somewhere in the web does not submit jobs to a service on the loopback."""
    given = of_host(headers, shared_api.client)
    problem(shared_api.client.post("/v1/jobs", headers=given, json=JOB), 403)
    assert shared_api.client.get("/v1/jobs", headers=given).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://HOST"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://HOST"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://name-at-the-proxy.example"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_changes_of_our_own_pages_and_of_programs_are_taken(shared_api, headers):
    """A proxy may have renamed the host: then what no page can set decides."""
    given = of_host(headers, shared_api.client)
    assert shared_api.client.post("/v1/jobs", headers=given, json=JOB).status_code == 202


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://ddcal.example", "ddcal.example", 202),
        ("http://ddcal.example", "ddcal.example:80", 202),
        ("https://DDCAL.example:443", "ddcal.example", 202),
        ("https://ddcal.example:8443", "ddcal.example", 403),
        ("https://ddcal.example.evil", "ddcal.example", 403),
        ("https://evil.example", "ddcal.example@evil.example", 403),
    ],
)
def test_origins_are_compared_as_hosts_with_their_ports(visitor, origin, host, status):
    """Whether TLS ends before the service or not."""
    headers = {**BEARER, "Origin": origin, "Host": host}
    assert visitor.post("/v1/jobs", headers=headers, json=JOB).status_code == status


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.1"])
def test_without_a_key_only_loopback_names_are_answered(shared_api, host):
    """A web page that lets its own name point here learns nothing."""
    problem(shared_api.client.get("/v1/jobs", headers={"Host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "[::1]:8000", "127.0.0.1"])
def test_loopback_names_are_answered(shared_api, host):
    """Every name of the loopback is good."""
    assert shared_api.client.get("/v1/jobs", headers={"Host": host}).status_code == 200


def test_the_document_names_every_way_in(visitor, shared_api):
    """Bearer, Basic or a session; none for health, and none at all without a key."""
    document = visitor.get("/openapi.json", headers=BEARER).json()
    schemes = document["components"]["securitySchemes"]
    assert [set(one) for one in document["security"]] == [{name} for name in schemes]
    assert {one.get("scheme", one.get("in")) for one in schemes.values()} == {
        "bearer",
        "basic",
        "cookie",
    }
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in shared_api.client.get("/openapi.json").json()
