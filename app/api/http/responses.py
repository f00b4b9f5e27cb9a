"""What several endpoints answer with: bodies as JSON, times, and nothing new (304)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from app.api.http.errors import PROBLEM_MEDIA_TYPE

IF_NONE_MATCH = "if-none-match"
PROBLEM_REF = {"$ref": "#/components/schemas/ProblemBody"}
_DESCRIPTIONS = {
    400: "The request cannot be read.",
    404: "There is no such thing.",
    409: "The present state forbids it.",
    410: "What the same request under this Idempotency-Key has made has been deleted.",
    413: "Too many bytes.",
    415: "Not a content type this takes.",
    416: "The range lies outside of the content.",
    422: "The request cannot be carried out; `errors` points at each invalid field.",
    500: "The stored file is damaged: `file_damaged`, with what to do.",
    503: "Something the service needs does not answer, or lets it take no job in.",
    507: "The service's disk has too little room left.",
}


def json_answer(
    body: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A body as JSON, serialised once."""
    return Response(
        body.model_dump_json(), status_code=status, headers=headers, media_type="application/json"
    )


def is_known(request: Request, etag: str) -> bool:
    """Does If-None-Match say that the client has this version (RFC 9110, weak comparison)?"""
    known = request.headers.get(IF_NONE_MATCH, "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return "*" in tags or etag in tags


def not_modified(headers: Mapping[str, str]) -> Response:
    """304: the client's version is the present one."""
    return Response(status_code=304, headers=headers)


def problems(*statuses: int, body: str = "ProblemBody") -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint for the problems it may answer with.

    Args:
        statuses: of the problems.
        body: the schema's name, where the problem has members of its own.
    """
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{body}"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses
    }


def rfc3339(time: datetime) -> str:
    """An aware time in UTC with milliseconds: 2026-11-23T01:02:03.004Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
