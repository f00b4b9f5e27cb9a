"""Logging in with a real browser, and what pages of other sites can make it do."""

import contextlib
from pathlib import Path

import pytest

from app.shared.login_tokens import make_token
from app.shared.settings import Settings
from tests.api.serving import running_api
from tests.api.test_results import DISTILL
from tests.browser.chromium import new_page, running_chromium
from tests.stand_in import Answered, stand_in

KEY = "a-key-of-some-length"
BEARER = {"Authorization": f"Bearer {KEY}"}
JOB = {"kind": "distill", "params": DISTILL}


@pytest.fixture(scope="module")
def devtools(tmp_path_factory):
    """A browser for this file."""
    with running_chromium(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture
def page(devtools):
    """A tab that knows nothing yet."""
    with new_page(devtools) as made:
        yield made


@pytest.fixture(params=[KEY, None], ids=["key", "no-key"])
def any_api(request, migrated_sqlite, tmp_path):
    """A service with a key, and one without."""
    with served(migrated_sqlite, tmp_path, request.param) as api:
        yield api


@pytest.fixture
def api(migrated_sqlite, tmp_path):
    """A service with a key."""
    with served(migrated_sqlite, tmp_path, KEY) as api:
        yield api


@contextlib.contextmanager
def served(migrated_sqlite, folder, key):
    """The API on a database of its own."""
    database = folder / "ddcal.sqlite"
    database.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(data_folder=folder, database_url=f"sqlite:///{database}", api_key=key)
    with running_api(settings) as api:
        yield api


def address(api, path):
    """Where a browser finds a path of the service."""
    return f"http://127.0.0.1:{api.client.base_url.port}{path}"


def log_in(page, api, path="/"):
    """By the form, wherever the login has come from."""
    page.open(address(api, path))
    page.fill("#key", KEY)
    page.press("main button")


def test_the_form_leads_to_the_page_that_was_wanted(page, api):
    """A page leads to the login, the key leads back; no script can read the session."""
    page.open(address(api, "/?from=bookmark"))
    assert page.path() == "/login?next=/%3Ffrom%3Dbookmark"
    page.fill("#key", "not the key")
    page.press("main button")
    assert "This is not the service's key." in page.text()
    page.fill("#key", KEY)
    page.press("main button")
    assert page.path() == "/?from=bookmark"
    assert "No jobs yet" in page.text()
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.call("Network.getCookies", urls=[address(api, "/")])["cookies"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_lists_that_a_browser_shows_open_under_the_session(page, api):
    """JSON, too, is something that people look at."""
    log_in(page, api, "/v1/jobs")
    assert page.path() == "/v1/jobs"
    assert '"items"' in page.text()


def test_the_printed_address_logs_in_once(page, devtools, api):
    """The first tab is in; another browser with the same address is not."""
    link = address(api, f"/login?token={make_token(api.settings.login_folder)}")
    page.open(link)
    assert page.path() == "/"
    assert "No jobs yet" in page.text()
    with new_page(devtools) as another:
        another.open(link)
        assert "used before, or is too old" in another.text()


def test_logging_out(page, api):
    """The button ends the session: the page leads to the login again."""
    log_in(page, api)
    page.press("header button")
    assert page.path() == "/login"
    page.open(address(api, "/"))
    assert page.path() == "/login"


def test_the_event_stream_comes_with_the_session(page, api):
    """An EventSource sends the cookie by itself."""
    job = api.client.post("/v1/jobs", json=JOB, headers=BEARER).json()
    log_in(page, api, "/v1/jobs")
    events = f"/v1/jobs/{job['id']}/events"
    seen = page.evaluate(
        "new Promise((seen, failed) => {"
        f"const source = new EventSource('{events}');"
        "for (const kind of ['message', 'state', 'progress', 'note'])"
        "  source.addEventListener(kind, event => { seen(event.data); source.close(); });"
        "source.onerror = () => failed('no stream');"
        "})"
    )
    assert '"state"' in str(seen)


def test_the_browser_can_read_the_challenges(page, api):
    """It finds Basic among them, and gets in with the key as the password."""
    page.open(address(api, "/healthz"))  # our pages let no script fetch anything
    page.call("Fetch.enable", handleAuthRequests=True)
    page.events.clear()
    page.call("Runtime.evaluate", expression=f"fetch('{address(api, '/version')}')")
    asked = {"authChallenge": {}}
    while not asked["authChallenge"]:
        asked = next_pause(page)
    assert asked["authChallenge"]["scheme"] == "basic"
    given = {"response": "ProvideCredentials", "username": "me", "password": KEY}
    page.call("Fetch.continueWithAuth", requestId=asked["requestId"], authChallengeResponse=given)
    page.call("Fetch.disable")
    assert page.event("Network.responseReceived")["response"]["status"] == 200


def next_pause(page):
    """The next question of Fetch; requests without one go on."""
    while True:
        told = page.events.pop(0) if page.events else page.receive()
        match told.get("method"):
            case "Fetch.requestPaused":
                page.call("Fetch.continueRequest", requestId=told["params"]["requestId"])
            case "Fetch.authRequired":
                return told["params"]


def elsewhere(html):
    """A page of somebody else's on this machine; gives its port."""
    page = Answered(200, html.encode(), (("Content-Type", "text/html; charset=utf-8"),))
    return stand_in(lambda _: page)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_another_site_changes_nothing(page, any_api, host):
    """Nor one of another port, to which the session's cookie would go along."""
    job = any_api.client.post("/v1/jobs", json=JOB, headers=BEARER).json()
    if any_api.settings.api_key is not None:
        log_in(page, any_api)
    target = address(any_api, f"/v1/jobs/{job['id']}/cancel")
    with elsewhere(f'<form method="post" action="{target}"><button>win</button></form>') as port:
        page.open(f"http://{host}:{port}/")
        page.press("button")
    assert '"cross_site_request"' in page.text()
    assert any_api.client.get(f"/v1/jobs/{job['id']}", headers=BEARER).json()["state"] == "queued"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_pages_fit_their_width(page, api, tmp_path, width, scheme):
    """Nothing sticks out, on a phone or a desk; the pictures stay beside the test."""
    for number in range(3):
        api.client.post(
            "/v1/jobs", json={**JOB, "params": {**DISTILL, "seed": number}}, headers=BEARER
        )
    page.open(address(api, "/"))
    for name in ("login", "front"):
        page.screenshot(tmp_path / f"{name}-{width}-{scheme}.png", width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if name == "login":
            page.fill("#key", KEY)
            page.press("main button")
