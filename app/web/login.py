"""/login and /logout: a browser changes the key, or a token that works once, for a session."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.api.http.access import (
    LOGIN_PATH,
    LOGOUT_PATH,
    see_other,
    session_cookie,
    wait_after_wrong_key,
)
from app.api.http.api_key import SESSION_SECONDS, ApiKey
from app.api.http.dependencies import Service, ServiceDep
from app.api.http.forms import FORM_TYPE, form_body, form_fields
from app.api.http.request_bodies import require_media_type
from app.shared.login_tokens import use_token
from app.web.rendering import page

router = APIRouter(include_in_schema=False)

MAX_QUERY = 4000
# A path of ours: browsers read "//name" and "/\name" as another host, and drop tabs before that.
_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")


@router.get(LOGIN_PATH)
def get_login(
    request: Request,
    service: ServiceDep,
    next_path: Annotated[str, Query(alias="next", max_length=MAX_QUERY)] = "/",
    token: Annotated[str, Query(max_length=MAX_QUERY)] = "",
) -> Response:
    """The form; or at once a session, for a token that nobody has used."""
    key = service.access.key
    if key is None or (request.state.session is not None and not token):
        return see_other(own_path(next_path))
    # A preview of the address asks by HEAD: the token is for who opens it.
    if not token or getattr(request.state, "is_head", False):
        return _form(request, service, next_path)
    if use_token(service.settings.login_folder, token):
        return _logged_in(request, key, next_path)
    return _form(request, service, next_path, wrong="This address was used before, or is too old.")


@router.post(LOGIN_PATH)
async def post_login(request: Request, service: ServiceDep) -> Response:
    """A session for the key; the form again for any other."""
    require_media_type(request, (FORM_TYPE,))
    fields = form_fields(await form_body(request.receive))
    next_path = fields.get("next", "/")
    key = service.access.key
    if key is None:
        return see_other(own_path(next_path))
    if not key.is_same(fields.get("key", "").strip()):
        await wait_after_wrong_key(request.scope)
        return _form(request, service, next_path, wrong="This is not the service's key.")
    return _logged_in(request, key, next_path)


@router.post(LOGOUT_PATH)
def post_logout(request: Request) -> Response:
    """Forget the session in this browser."""
    answer = see_other(LOGIN_PATH)
    answer.delete_cookie(session_cookie(request.headers), path="/")
    return answer


def own_path(path: str) -> str:
    """Where to go after a login: a path of this service; the front page for any other address."""
    is_own = _OWN_PATH.fullmatch(path) and not path.startswith((LOGIN_PATH, LOGOUT_PATH))
    return path if is_own else "/"


def _form(request: Request, service: Service, next_path: str, *, wrong: str = "") -> Response:
    values = {"wrong": wrong, "next_path": own_path(next_path)}
    return page(request, service, "login.html", values, status=403 if wrong else 200)


def _logged_in(request: Request, key: ApiKey, next_path: str) -> Response:
    answer = see_other(own_path(next_path))
    answer.set_cookie(
        session_cookie(request.headers),
        key.begin_session(),
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer
