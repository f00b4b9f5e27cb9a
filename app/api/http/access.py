"""Who may come in: by the key, by a session, or, without a key, by a name of the loopback.

A browser sends cookies, and Basic credentials once typed, with whatever a page of another site
makes it send. So a change is taken from this service's own pages alone, and under a session it has
to come with the token that only these know.
"""

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope

from app.api.http.api_key import ApiKey
from app.api.http.errors import Problem, problem_of
from app.api.http.forms import FORM_TYPE, form_body, form_fields, read_again
from app.shared.errors import DdcalError, ForbiddenError, UnauthorizedError
from app.shared.settings import LOOPBACK, Settings, SettingsError

LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "x-csrf-token"
SESSION_COOKIE = "ddcal-session"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
WRONG_KEY_SECONDS = 0.5
"""How long a wrong key waits for its answer."""

_OPEN_PATHS = frozenset({"/healthz", "/favicon.ico"})
# The style and scripts of pages, which are the same in every service; the login has them, too.
_OPEN_FOLDER = "/static/"
_LOGIN_PATHS = frozenset({LOGIN_PATH, LOGOUT_PATH})
_DEFAULT_PORTS = {"http": 80, "https": 443}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Admission:
    """What came of a request at the door.

    Attributes:
        receive: reads its body.
        refusal: the answer in place of the application's; None lets it in.
    """

    receive: Receive
    refusal: Problem | Response | None = None


class Access:
    """The door of one service.

    Args:
        settings: its key, or that it has none.
        pages: paths for people: who has not logged in is led to the login.

    Attributes:
        key: None where the service answers without one.

    Raises:
        SettingsError: they have no key and do not say that none is wanted.
    """

    def __init__(self, settings: Settings, *, pages: Collection[str]) -> None:
        if settings.api_key is None and not settings.no_key:
            raise SettingsError(
                "invalid settings: the API needs a key: set DDCAL_API_KEY, or, on a loopback "
                "address, DDCAL_NO_KEY=1 (--no-key)"
            )
        self.key = ApiKey(settings.api_key.get_secret_value()) if settings.api_key else None
        self._hosts = LOOPBACK | {settings.host.lower()}
        self._pages = frozenset(pages)

    async def admit(self, scope: Scope, receive: Receive, headers: Headers) -> Admission:
        """Let a request in or not; a session is left in its state."""
        scope["state"]["session"] = None
        if scope["path"] in _OPEN_PATHS or scope["path"].startswith(_OPEN_FOLDER):
            return Admission(receive)
        is_change = scope["method"] not in READING
        if is_change and _is_foreign(headers):
            return Admission(receive, _foreign_problem())
        if self.key is None:
            return Admission(receive, self._host_refusal(headers.get("host", "")))
        given = _given_key(headers.get("authorization", ""))
        if given and self.key.is_same(given):
            return Admission(receive)
        session = cookie_parser(headers.get("cookie", "")).get(session_cookie(headers), "")
        if self.key.is_session(session):
            scope["state"]["session"] = session
            if is_change and scope["path"] != LOGIN_PATH:
                return await _changed_under(self.key, session, receive, headers)
            return Admission(receive)
        if given:
            await wait_after_wrong_key(scope)
            return Admission(receive, _unauthorized("api_key_wrong"))
        return Admission(receive, self._without_key(scope, headers))

    def _without_key(self, scope: Scope, headers: Headers) -> Problem | Response | None:
        path: str = scope["path"]
        if path in _LOGIN_PATHS:
            return None
        if scope["method"] in READING and self._is_for_people(path, headers.get("accept", "")):
            whole = scope.get("raw_path", path.encode()).decode("latin-1")
            query = scope["query_string"].decode("latin-1")
            wanted = quote(f"{whole}?{query}" if query else whole, safe="/")
            return see_other(LOGIN_PATH if wanted == "/" else f"{LOGIN_PATH}?next={wanted}")
        return _unauthorized("api_key_needed")

    def _is_for_people(self, path: str, accept: str) -> bool:
        return "text/html" in accept or (path in self._pages and "json" not in accept)

    def _host_refusal(self, host: str) -> Problem | None:
        """Without a key, refuse other names of this machine: a web page may have made them up."""
        name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
        if name.strip("[]").lower() in self._hosts:
            return None
        detail = "without an API key the service answers to loopback names only (Host: 127.0.0.1)"
        return Problem(421, "misdirected_host", "Misdirected request", detail)


def session_cookie(headers: Headers) -> str:
    """The name of a session's cookie: cookies know no ports, and services on two must not meet."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"{SESSION_COOKIE}-{port}" if port.isascii() and port.isdigit() else SESSION_COOKIE


def see_other(path: str) -> Response:
    """Lead a browser to another path of this service."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})


async def wait_after_wrong_key(scope: Scope) -> None:
    """Note a wrong key and let it wait: whoever guesses is seen, and each connection is slow.

    Many connections wait side by side: against them a key protects by its length alone.
    """
    client = (scope.get("client") or ("unknown",))[0]
    log.warning("a wrong API key", extra={"client": client, "path": scope["path"][:200]})
    await asyncio.sleep(WRONG_KEY_SECONDS)


async def _changed_under(
    key: ApiKey, session: str, receive: Receive, headers: Headers
) -> Admission:
    """A change that comes with a cookie needs the session's token, in a header or in its form."""
    given = headers.get(CSRF_HEADER, "")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not given and media_type == FORM_TYPE:
        try:
            body = await form_body(receive)
            given = form_fields(body).get(CSRF_FIELD, "")
        except DdcalError as error:
            return Admission(receive, problem_of(error))
        receive = read_again(body, receive)
    if key.is_csrf_token(session, given):
        return Admission(receive)
    detail = f"a change under a session needs its token, as X-CSRF-Token or as {CSRF_FIELD}"
    refusal = Problem(
        ForbiddenError.status,
        "csrf_token_needed",
        ForbiddenError.title,
        f"{detail}; load the page again",
    )
    return Admission(receive, refusal)


def _is_foreign(headers: Headers) -> bool:
    """Has a page of another site made a browser send this?

    Sec-Fetch-Site decides where there is one: no page can set it, and a proxy that renames the
    host does not change it. Programs that are no browsers send neither.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and not _is_own(origin, headers.get("host", ""))


def _is_own(origin: str, host: str) -> bool:
    try:
        theirs = urlsplit(origin)
        default = _DEFAULT_PORTS[theirs.scheme]
        ours = urlsplit(f"{theirs.scheme}://{host}")
        same_port = (theirs.port or default) == (ours.port or default)
    except (ValueError, KeyError):  # "null" among them
        return False
    # A host is a name and a port; a browser sends nothing else.
    is_host = ours.netloc == host and "@" not in host
    return is_host and bool(theirs.hostname) and theirs.hostname == ours.hostname and same_port


def _foreign_problem() -> Problem:
    detail = "a page of another site made the browser send this; changes come from this service's"
    return Problem(
        ForbiddenError.status, "cross_site_request", ForbiddenError.title, f"{detail} own pages"
    )


def _unauthorized(code: str) -> Problem:
    detail = "send the service's key as 'Authorization: Bearer KEY'; `ddcal key` prints it"
    return Problem(UnauthorizedError.status, code, UnauthorizedError.title, detail)


def _given_key(authorization: str) -> str:
    """The key of a Bearer token, or of Basic's password under any user name; "" without."""
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError):
                return ""
            return decoded.partition(":")[2]
        case _:
            return ""
