"""Prefer: wait=N (RFC 7240), by which a poll may wait for something to have changed."""

import re
from typing import Any

from fastapi import Request

from app.api.http.responses import IF_NONE_MATCH

MAX_WAIT_SECONDS = 60
PREFER: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N`, together with If-None-Match: answer when the job has another ETag, "
    f"or with 304 after N seconds, at most {MAX_WAIT_SECONDS}.",
    "schema": {"type": "string", "examples": ["wait=30"]},
}

_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def wait_seconds(request: Request) -> int | None:
    """How long the client would wait for a change of what it knows; None where it asks for no wait.

    What cannot be read is no preference, as RFC 7240 has it; of several the first counts.
    """
    return preferred_wait(request) if IF_NONE_MATCH in request.headers else None


def preferred_wait(request: Request) -> int | None:
    """How long the client would wait for an answer; None where it does not say."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        match = _WAIT.fullmatch(preference)
        if match:
            return min(int(match[1]), MAX_WAIT_SECONDS)
    return None
