"""/docs: the API's document, to read and to try, with all that the page needs."""

import gzip
from functools import cache
from html import escape
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.api.http.dependencies import ServiceDep
from app.web.rendering import HEADERS

router = APIRouter(prefix="/docs", include_in_schema=False)

PATH = "/docs"
# Its scripts are this service's own, and so is all that they may ask.
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
FOR_EVER = "private, max-age=31536000, immutable"
_ASSETS = Path(__file__).with_name("assets")


@router.get("")
def get_documentation(request: Request, service: ServiceDep) -> HTMLResponse:
    """The page; what is tried in it is done by the session or by a key typed in."""
    key, session = service.access.key, request.state.session
    token = "" if key is None or session is None else key.csrf_token(session)
    page = _asset("documentation.html").decode().replace("{csrf_token}", escape(token))
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": POLICY})


@router.get("/documentation.js")
def get_script() -> Response:
    """How the page looks."""
    return Response(
        _asset("documentation.js"),
        media_type="text/javascript",
        headers={"Cache-Control": "no-cache"},
    )


@router.get("/rapidoc-9.3.8.js")
def get_viewer(request: Request) -> Response:
    """RapiDoc, see assets/rapidoc/README.md; kept and sent as it was packed."""
    content = _asset("rapidoc/rapidoc-9.3.8.js.gz")
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, media_type="text/javascript", headers=headers)


@cache
def _asset(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()
