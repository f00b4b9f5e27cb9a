"""/v1/artifacts: the files of results, and their bytes."""

import base64
import os
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.api.http.responses import is_known, json_answer, not_modified, problems
from app.api.schemas.results import ArtifactBody, artifact_body
from app.shared.errors import DamagedFileError, MalformedRequestError, NotFoundError
from app.shared.store.catalog import Artifact, artifacts_of_resources, find_artifact

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

# A report runs nothing and fetches nothing: it is data that happens to be read in a browser. It has
# our origin so that its links to other results carry the session; no script is there to use it.
# Pages of this service show it in a frame, out of which its links lead when they are followed.
REPORT_POLICY = (
    "sandbox allow-same-origin allow-downloads allow-top-navigation-by-user-activation; "
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
_RANGE = re.compile(r"([0-9]{1,30})-([0-9]{0,30})|-[0-9]{1,30}")
FOR_EVER = "private, max-age=31536000, immutable"
INLINE_TYPES = ("text/html", "image/png")
CONTENT_ANSWERS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The range asked for."},
    304: {"description": "If-None-Match has its ETag."},
    **problems(400, 404, 416, 500),
}


@router.get(
    "/{artifact_id}",
    response_model=ArtifactBody,
    responses=problems(404),
    summary="Look at a file's name, size and digest",
)
def get_artifact(service: ServiceDep, owner_id: OwnerDep, artifact_id: str) -> Response:
    """A file's name, type, size and sha256."""
    return json_answer(artifact_body(_find(service, owner_id, artifact_id)))


@router.get(
    "/{artifact_id}/content",
    response_class=FileResponse,
    responses=CONTENT_ANSWERS,
    summary="Download a file",
)
def download_artifact(
    request: Request, service: ServiceDep, owner_id: OwnerDep, artifact_id: str
) -> Response:
    """The bytes of a file, whole or a Range; reports and pictures show in a browser.

    A file whose bytes are no longer those of its sha256 is not sent: 500, `file_damaged`.
    """
    artifact = _find(service, owner_id, artifact_id)
    return answer_file(request, service, owner_id, artifact)


@router.get("/{artifact_id}/{name}", include_in_schema=False)
def download_beside(
    request: Request, service: ServiceDep, owner_id: OwnerDep, artifact_id: str, name: str
) -> Response:
    """Another file of the same result, by its name: what a page's links to its neighbours mean.

    They lead to the files themselves where the whole result was downloaded.
    """
    artifact = _find(service, owner_id, artifact_id)
    with service.database.read() as connection:
        files = artifacts_of_resources(connection, owner_id, [artifact.resource_id])
    beside = next((file for file in files if file.name == name), None)
    if beside is None:
        raise NotFoundError(
            "artifact_not_found", f"there is no {name[:100]} beside {artifact.name}"
        )
    return answer_file(request, service, owner_id, beside)


def answer_file(
    request: Request,
    service: Service,
    owner_id: str,
    artifact: Artifact,
    *,
    caching: str = FOR_EVER,
) -> Response:
    """A file's bytes, whole or a Range, or 304; blocks while they are verified.

    Args:
        request: with what its client knows, and the Range it wants.
        service: of this process.
        owner_id: whose file it is.
        artifact: its row.
        caching: the answer's Cache-Control.

    Raises:
        DamagedFileError: it is gone, or has other bytes than were stored.
    """
    _check_range(request.headers.get("range"))
    headers = {**_headers(artifact), "Cache-Control": caching}
    if is_known(request, headers["ETag"]):
        return not_modified(headers)
    path, status = _stored(service, owner_id, artifact)
    return FileResponse(
        path,
        headers=headers,
        media_type=artifact.media_type,
        filename=artifact.name,
        stat_result=status,
        content_disposition_type=(
            "inline" if artifact.media_type in INLINE_TYPES else "attachment"
        ),
    )


def _check_range(given: str | None) -> None:
    """Say what is wrong with a Range of bytes, as the framework's refusal has no reason.

    Raises:
        MalformedRequestError: it is no list of ranges, or one ends before it starts.
    """
    if given is None:
        return
    unit, _, ranges = given.partition("=")
    for one in ranges.split(","):
        match = _RANGE.fullmatch(one.strip())
        is_backwards = match and match[1] and match[2] and int(match[1]) > int(match[2])
        if match is None or is_backwards:
            raise MalformedRequestError(
                "malformed_range",
                f"wanted a Range such as {unit.strip()}=0-99, 100- or -50, from the first byte to "
                f"the last; got {one.strip()[:40]!r}",
            )


def _find(service: Service, owner_id: str, artifact_id: str) -> Artifact:
    with service.database.read() as connection:
        return find_artifact(connection, owner_id, checked_id("art", artifact_id))


def _stored(service: Service, owner_id: str, artifact: Artifact) -> tuple[Path, os.stat_result]:
    try:
        path = service.store.verified(artifact)
        return path, path.stat()
    except (DamagedFileError, FileNotFoundError):
        # Where its job was deleted since the row was read, it is gone for good reason.
        _find(service, owner_id, artifact.id)
        raise


def _headers(artifact: Artifact) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode()
    headers = {
        "ETag": f'"sha256-{artifact.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    if artifact.media_type == "text/html":
        headers["Content-Security-Policy"] = REPORT_POLICY
    return headers
