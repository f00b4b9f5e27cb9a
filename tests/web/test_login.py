"""Logging in and out: the form, the address that works once, and the session's cookie."""

import os
import re
import time
from urllib.parse import urlencode

import pytest

from app.api.http.api_key import SESSION_SECONDS
from app.shared.login_tokens import LIFE_SECONDS, make_token
from app.web.login import own_path
from tests.api.serving import problem
from tests.api.test_access import BEARER, HTML, KEY, keyed_api, visitor

__all__ = ["keyed_api", "visitor"]  # fixtures, asked for by name


def posted(visitor, fields, **headers):
    """A form sent by a browser."""
    own = f"http://{visitor.base_url.host}:{visitor.base_url.port}"
    return visitor.post(
        "/login" if "key" in fields else "/logout", data=fields, headers={"Origin": own, **headers}
    )


def test_the_form_stands_alone(visitor):
    """No script, nothing from elsewhere, nothing stored on the way."""
    answer = visitor.get("/login?next=/v1/jobs", headers=HTML)
    assert answer.status_code == 200
    assert '<form method="post" action="/login">' in answer.text
    assert 'name="next" value="/v1/jobs"' in answer.text
    assert 'type="password"' in answer.text
    assert "<script" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_key_buys_a_session(visitor):
    """By a form without script; then pages open, and lead on to where one wanted to go."""
    answer = posted(visitor, {"key": f" {KEY}\n", "next": "/v1/jobs?state=failed"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/jobs?state=failed")
    assert KEY not in answer.headers["set-cookie"]
    assert visitor.get("/", headers=HTML).status_code == 200
    assert visitor.get(answer.headers["location"]).status_code == 200
    again = visitor.get("/login?next=/metrics")
    assert (again.status_code, again.headers["location"]) == (303, "/metrics")


def test_the_cookie_is_for_our_pages_alone(visitor):
    """No script reads it, no other site sends it; its name has the port, which cookies ignore."""
    cookie = posted(visitor, {"key": KEY}).headers["set-cookie"]
    assert cookie.startswith(f"ddcal-session-{visitor.base_url.port}=")
    words = {word.strip().lower() for word in cookie.split(";")[1:]}
    assert words == {"httponly", "samesite=strict", "path=/", f"max-age={SESSION_SECONDS}"}


def test_behind_tls_the_cookie_is_secure(visitor):
    """Where a proxy on this machine says that it was asked by https."""
    headers = {"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}
    assert "; secure" in posted(visitor, {"key": KEY}, **headers).headers["set-cookie"].lower()


@pytest.mark.parametrize("key", ["", "wrong", f"{KEY}x", "é", "<b>"])
def test_a_wrong_key_shows_the_form_again(visitor, key):
    """It says so, keeps where one wanted to go, and repeats nothing of the key."""
    answer = posted(visitor, {"key": key, "next": "/v1/jobs"})
    assert answer.status_code == 403
    assert "This is not the service&#39;s key." in answer.text
    assert 'name="next" value="/v1/jobs"' in answer.text
    assert "set-cookie" not in answer.headers
    assert "<b>" not in answer.text


def test_a_login_from_another_site_is_refused(visitor):
    """Nobody is logged in by a page that is not ours."""
    answer = posted(visitor, {"key": KEY}, Origin="https://evil.example")
    assert problem(answer, 403)["code"] == "cross_site_request"


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"key=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"&".join([b"a=1"] * 500), "application/x-www-form-urlencoded", 400),
        ("key=é".encode("latin-1"), "application/x-www-form-urlencoded", 400),
    ],
)
def test_odd_forms(visitor, body, media_type, status):
    """Refused as problems, by what is wrong with them."""
    problem(visitor.post("/login", content=body, headers={"Content-Type": media_type}), status)


def test_an_address_works_once(visitor, keyed_api):
    """The token buys a session; a second visitor with the same address gets the form."""
    token = make_token(keyed_api.settings.login_folder)
    answer = visitor.get(f"/login?token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert visitor.get("/", headers=HTML).status_code == 200
    visitor.cookies.clear()
    again = visitor.get(f"/login?token={token}")
    assert again.status_code == 403
    assert "used before, or is too old" in again.text
    assert "set-cookie" not in again.headers


def test_a_look_at_an_address_does_not_use_it_up(visitor, keyed_api):
    """As a preview of a link does."""
    token = make_token(keyed_api.settings.login_folder)
    head = visitor.head(f"/login?token={token}")
    assert (head.status_code, "set-cookie" in head.headers) == (200, False)
    assert visitor.get(f"/login?token={token}").status_code == 303


def test_an_address_gets_too_old(visitor, keyed_api):
    """Minutes after it was printed nobody gets in by it."""
    folder = keyed_api.settings.login_folder
    token = make_token(folder)
    (path,) = folder.iterdir()
    old = time.time() - LIFE_SECONDS - 60
    os.utime(path, (old, old))
    assert visitor.get(f"/login?token={token}").status_code == 403
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("token", ["x", "../ddcal.sqlite", "%00", "%ff", "a" * 3000])
def test_a_made_up_token(visitor, keyed_api, token):
    """It is no file's name."""
    assert visitor.get(f"/login?token={token}").status_code == 403
    assert (keyed_api.settings.folder / "ddcal.sqlite").exists()


def test_logging_out_ends_the_session_in_this_browser(visitor):
    """By the button of the page, which carries the token; the cookie alone does not do it."""
    posted(visitor, {"key": KEY})
    page = visitor.get("/", headers=HTML).text
    (token,) = set(re.findall(r'name="csrf_token" value="([^"]+)"', page))
    assert problem(posted(visitor, {}), 403)["code"] == "csrf_token_needed"
    assert problem(posted(visitor, {"csrf_token": "x"}), 403)["code"] == "csrf_token_needed"
    answer = posted(visitor, {"csrf_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert visitor.get("/", headers=HTML).headers["location"] == "/login"


def test_logging_out_without_a_session(visitor):
    """Leads to the login, as for anybody."""
    assert posted(visitor, {}).headers["location"] == "/login"


def test_who_came_by_the_key_has_nothing_to_log_out_of(visitor):
    """A program's page has no button."""
    assert "Log out" not in visitor.get("/", headers=BEARER).text


def test_without_a_key_there_is_nothing_to_log_in_to(shared_api):
    """The login leads on."""
    client = shared_api.client
    assert client.get("/login?next=/v1/jobs").headers["location"] == "/v1/jobs"
    body = urlencode({"key": "x", "next": "/metrics"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/login", content=body, headers=headers).headers["location"] == "/metrics"
    assert "Log out" not in client.get("/").text


@pytest.mark.parametrize(
    "path", ["/", "/v1/jobs", "/v1/jobs?state=failed&x=%2F", "/v1/jobs/job_1#events"]
)
def test_own_paths_are_followed(path):
    """With query and all."""
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1/jobs",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/ /evil.example",
        "https://evil.example",
        "https:/evil.example",
        "javascript:alert(1)",
        "/x\\y",
        "/é",
        "/\x00",
        "/login?next=/",
        "/logout",
    ],
)
def test_other_addresses_lead_to_the_front_page(visitor, path):
    """No open redirect, whatever a browser makes of slashes and blanks; and no circle."""
    assert own_path(path) == "/"
    answer = posted(visitor, {"key": KEY, "next": path})
    assert answer.headers["location"] == "/"


def test_the_login_has_its_style_before_anybody_is_in(visitor):
    """The style, the scripts and the icon are open; nothing else is."""
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', visitor.get("/login").text):
        assert visitor.get(path).status_code == 200, path
    icon = visitor.get("/favicon.ico")
    assert visitor.get(icon.headers["location"]).headers["content-type"] == "image/svg+xml"
    for path in ("/static", "/jobs", "/new", "/settings"):
        assert visitor.get(path, headers={"Accept": "text/html"}).status_code == 303


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"name=x", 403, "load the page again"),
        (b"x" * 70_000, 413, "at most 64000 bytes"),
        (b"\xff", 400, "the form cannot be read"),
    ],
    ids=["no token", "too large", "no form"],
)
def test_what_a_session_may_not_do_is_told_on_a_page(visitor, caplog, body, status, words):
    """To programs as a problem; neither is a failure of the service."""
    posted(visitor, {"key": KEY})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = visitor.post("/new/example", content=body, headers={**HTML, **form})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text
    told = problem(visitor.post("/v1/jobs", content=body, headers={**HTML, **form}), status)
    assert words in told["detail"]
    assert "failed" not in caplog.text
