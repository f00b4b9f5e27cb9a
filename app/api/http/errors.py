"""The one table from exception to status to problem body (RFC 9457), for every answer not 2xx."""

import errno
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.shared.errors import (
    DamagedDatabaseError,
    DamagedFileError,
    DdcalError,
    FieldProblem,
    InvalidRequestError,
)
from app.submission.field_problems import parameter_problem
from ddcal_core.errors import InvalidDataError

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
MAX_PATH_SHOWN = 200

# Headers of a framework's own refusal that stay true of the problem put in its place.
KEPT_HEADERS = ("allow", "content-range", "www-authenticate", "retry-after", "etag", "connection")

# Two lines: Chromium takes a comma between two challenges for a part of the first.
CHALLENGES = ('Bearer realm="ddcal"', 'Basic realm="ddcal", charset="UTF-8"')

STATUS_CODES = {
    400: "malformed_request",
    401: "api_key_needed",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_type",
    416: "range_not_satisfiable",
    421: "misdirected_host",
    422: "invalid_request",
    503: "unavailable",
}


@dataclass(frozen=True)
class Problem:
    """What went wrong, before it is tied to a request.

    Attributes:
        status: the HTTP status.
        code: a stable word for programs; the body's `type` is made of it.
        title: what this kind of problem is, always the same for one status.
        detail: what was wanted and what was got, this time.
        errors: one entry per invalid field.
        headers: headers that the status calls for.
        members: what the body has besides (RFC 9457, section 3.2).
    """

    status: int
    code: str
    title: str
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)


def problem_of(error: Exception) -> Problem:
    """The problem an exception stands for; 500 without any of its text where none is meant."""
    match error:
        case InvalidRequestError():
            return Problem(
                error.status, error.code, error.title, error.detail, errors=error.problems
            )
        case DamagedFileError() | DamagedDatabaseError():
            return Problem(error.status, error.code, error.title, error.detail)
        case DdcalError() if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.status == 503 else {}
            return Problem(error.status, error.code, error.title, error.detail, headers=headers)
        case InvalidDataError():
            return Problem(422, "invalid_data", "The data cannot be used", str(error))
        case RequestValidationError():
            return _invalid_parameters(error)
        case HTTPException():
            return status_problem(error.status_code, error.headers or {}, str(error.detail))
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Problem(507, "disk_full", "Insufficient storage", "the service's disk is full")
        case ClientDisconnect():
            return Problem(400, "client_gone", "The request ended early", "the client went away")
        case _:
            return status_problem(500)


def status_problem(
    status: int, headers: Mapping[str, str] | None = None, reason: str = ""
) -> Problem:
    """The problem for a status that came without words of ours; the framework's reason if any."""
    title = HTTPStatus(status).phrase
    kept = {key: value for key, value in (headers or {}).items() if key.lower() in KEPT_HEADERS}
    kept = {
        key: _with_head(value) if key.lower() == "allow" else value for key, value in kept.items()
    }
    if status >= 500 and status != HTTPStatus.SERVICE_UNAVAILABLE:
        detail = "something went wrong on the server; its log has more under this request_id"
        return Problem(status, "internal", title, detail, headers=kept)
    details = {
        404: "there is nothing at this address",
        405: f"this address takes {_header(kept, 'allow') or 'other methods'}",
        416: f"the range lies outside of the content: {_header(kept, 'content-range')}",
    }
    return Problem(
        status,
        STATUS_CODES.get(status, "refused"),
        title,
        details.get(status, reason or title),
        headers=kept,
    )


def problem_response(problem: Problem, *, path: str, request_id: str) -> Response:
    """A problem as an answer to the request it came from."""
    body: dict[str, Any] = {
        "type": f"urn:ddcal:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path[:MAX_PATH_SHOWN],
        "code": problem.code,
        "request_id": request_id,
        "errors": [
            {"pointer": one.pointer, "code": one.code, "detail": one.detail}
            for one in problem.errors
        ],
        **problem.members,
    }
    response = Response(
        json.dumps(body),
        status_code=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
        media_type=PROBLEM_MEDIA_TYPE,
    )
    if problem.status == HTTPStatus.UNAUTHORIZED:
        for challenge in CHALLENGES:
            response.headers.append("WWW-Authenticate", challenge)
    return response


async def answer_problem(request: Request, error: Exception) -> Response:
    """Turn what an endpoint raised into its problem; FastAPI's handler for all of them."""
    problem = problem_of(error)
    if isinstance(error, RequestValidationError):
        problem = _invalid_parameters(error, _parameter_names(request))
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request.app.openapi(), request.url.path)
        problem = status_problem(problem.status, allowed or problem.headers)
    return problem_response(problem, path=request.url.path, request_id=request.state.request_id)


def _allowed_methods(document: Mapping[str, Any], path: str) -> dict[str, str]:
    """The Allow header of a path: the router knows only the first of its routes."""
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return {"allow": ", ".join(sorted(method.upper() for method in operations))}
    return {}


def _invalid_parameters(error: RequestValidationError, known: Iterable[str] = ()) -> Problem:
    problems = tuple(parameter_problem(one, known) for one in error.errors())
    detail = "; ".join(f"{one.pointer}: {one.detail}" for one in problems[:3])
    return Problem(422, "invalid_parameters", InvalidRequestError.title, detail, errors=problems)


def _parameter_names(request: Request) -> list[str]:
    """The parameters that the query of a request's address may have, by the document."""
    template = getattr(request.scope.get("route"), "path", "")
    operations = request.app.openapi()["paths"].get(template, {})
    parameters = operations.get(request.method.lower(), {}).get("parameters", ())
    return [one["name"] for one in parameters if one["in"] == "query"]


def _with_head(methods: str) -> str:
    """The methods of an address, HEAD among them where GET is (`reading`)."""
    listed = {method.strip() for method in methods.split(",")}
    return ", ".join(sorted(listed | ({"HEAD"} if "GET" in listed else set())))


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
