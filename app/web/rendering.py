"""Pages are put together by templates: what is put into them is escaped, whoever wrote it."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.api.http.access import CSRF_FIELD
from app.api.http.dependencies import Service
from app.web import words
from app.web.static_files import static_url

# Scripts, styles and pictures of this service alone, none of them written into a page. A report is
# shown in a frame; it has a policy of its own, without scripts.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# "no-referrer" would make a browser call the origin of our own forms "null".
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
}
NAVIGATION: Mapping[str, str] = {
    "/": "Home",
    "/jobs": "Jobs",
    "/new": "New job",
    "/datasets": "Data sets",
    "/results": "Results",
    "/compare": "Compare",
    "/docs": "API",
    "/settings": "Settings",
}
"""The pages that every page leads to, by their paths."""

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,  # templates of a newer version would meet this version's values
)
_ENVIRONMENT.globals |= {"static": static_url, "navigation": NAVIGATION, "csrf_field": CSRF_FIELD}
_ENVIRONMENT.filters |= words.FILTERS


def page(
    request: Request,
    service: Service,
    template: str,
    values: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page of the service.

    Args:
        request: that asks for it; its session decides whether one can log out.
        service: what answers it.
        template: name of a file in `templates/` that extends `base.html`.
        values: what the template is filled with. `stream` is the path of the events on which the
            page looks again, `every` the seconds after which it does; without either it stays.
        status: of the answer.
        headers: beside those of every page.
    """
    key, session = service.access.key, request.state.session
    token = "" if key is None or session is None else key.csrf_token(session)
    query = f"?{request.url.query}" if request.url.query else ""
    known = {
        "path": request.url.path,
        "address": f"{request.url.path}{query}",
        "csrf_token": token,
        "stream": None,
        "every": None,
    }
    text = _ENVIRONMENT.get_template(template).render({**known, **values})
    return HTMLResponse(text, status_code=status, headers={**HEADERS, **(headers or {})})
