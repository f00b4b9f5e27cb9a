"""/static: the style, scripts and pictures of pages, which are the same for everybody."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.http.access import see_other
from app.shared.errors import NotFoundError

router = APIRouter(include_in_schema=False)

FOR_EVER = "public, max-age=31536000, immutable"
_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    digest: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])


# Found once, at import: no path of a request is ever looked for on the disk.
_FILES: Mapping[str, _File] = {
    path.relative_to(_FOLDER).as_posix(): _read(path)
    for path in sorted(_FOLDER.rglob("*"))
    if path.suffix in _TYPES
}


def static_url(name: str) -> str:
    """The path of a file in `static/`, which changes with its content: it is kept for ever."""
    return f"/static/{name}?{_FILES[name].digest}"


@router.get("/static/{name:path}")
def get_static_file(name: str) -> Response:
    """A file of the pages."""
    found = _FILES.get(name)
    if found is None:
        raise NotFoundError("not_found", "there is no such file")
    headers = {"Cache-Control": FOR_EVER}
    return Response(found.content, media_type=found.media_type, headers=headers)


@router.get("/favicon.ico")
def get_icon() -> Response:
    """The picture of a tab, which browsers ask for beside answers that name none, such as JSON."""
    return see_other(static_url("icon.svg"))
