"""What every conversation with a service is made of: tries, refusals, pages, files."""

import json
import random
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from ddcal.errors import (
    ConflictError,
    DamagedDownloadError,
    InvalidRequestError,
    NoServiceError,
    NotFoundError,
    ServiceError,
    UnauthorizedError,
)
from ddcal.steps import Ask, Emit, Fetch, Pause, Steps

BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_ERRORS: Mapping[int, type[ServiceError]] = {
    httpx.codes.UNAUTHORIZED: UnauthorizedError,
    httpx.codes.NOT_FOUND: NotFoundError,
    httpx.codes.CONFLICT: ConflictError,
    httpx.codes.UNPROCESSABLE_ENTITY: InvalidRequestError,
}
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0
_LONGEST_ASKED = 60.0
_WATCH_RETRIES = 12


@dataclass(frozen=True)
class Manners:
    """How often a request is sent again, and by which clock and chance.

    Attributes:
        url: of the service, for messages.
        max_retries: beyond the first try, where the connection fails or the service is busy.
        clock: seconds that only grow.
        jitter: between 0 and 1; pauses are drawn from their upper half.
    """

    url: str
    max_retries: int = 4
    clock: Callable[[], float] = field(default=time.monotonic)
    jitter: Callable[[], float] = field(default=random.random)

    def patient(self) -> "Manners":
        """For what has waited long already: a service that restarts is waited for, two minutes."""
        return replace(self, max_retries=max(self.max_retries, _WATCH_RETRIES))

    def pause(self, n_tries: int, response: httpx.Response | None) -> float:
        """Seconds before another try, doubling; at least what the service asks for."""
        longest = min(_FIRST_PAUSE * 2.0 ** (n_tries - 1), _LONGEST_PAUSE)
        drawn = longest * (0.5 + 0.5 * self.jitter())
        asked = response.headers.get("retry-after", "") if response is not None else ""
        return max(drawn, min(float(asked), _LONGEST_ASKED)) if asked.isdecimal() else drawn


def answered(ask: Ask, manners: Manners) -> Steps[httpx.Response]:
    """Send a request until it is answered; a POST carries one Idempotency-Key through all tries.

    Raises:
        NoServiceError: no connection, after all tries.
        ServiceError: the service refuses.
    """
    if ask.method == "POST":
        ask = replace(ask, headers={"Idempotency-Key": secrets.token_hex(16), **ask.headers})
    response: httpx.Response = yield from _patiently(ask, manners)
    return response


def _patiently(sent: Ask | Fetch, manners: Manners) -> Steps[Any]:
    n_tries = 0
    while True:
        n_tries += 1
        is_last = n_tries > manners.max_retries
        response: httpx.Response | None = None
        try:
            answer = yield sent
        except httpx.TransportError as error:
            if is_last:
                raise no_service(manners.url, error) from error
        else:
            response = answer[0] if isinstance(sent, Fetch) else answer
            assert response is not None
            if is_last or response.status_code not in BUSY:
                require_success(response)
                return answer
        yield Pause(manners.pause(n_tries, response))


def no_service(url: str, error: Exception) -> NoServiceError:
    """Nobody has answered, in words."""
    why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return NoServiceError(f"no answer from {url}: {why}. Is the service up (ddcal serve)?")


def document(ask: Ask, manners: Manners) -> Steps[Any]:
    """The JSON of an answer."""
    response = yield from answered(ask, manners)
    try:
        return response.json()
    except ValueError:
        raise ServiceError(
            response.status_code, "no_json", f"{manners.url}{ask.path} did not answer with JSON"
        ) from None


def pages(path: str, query: Mapping[str, Any], manners: Manners) -> Steps[None]:
    """The items of a list, emitted, page after page; each is fetched when it is come to."""
    token: str | None = ""
    while token is not None:
        items, token = yield from _page(path, query, token, manners)
        for item in items:
            yield Emit(item)


def all_items(path: str, query: Mapping[str, Any], manners: Manners) -> Steps[list[Any]]:
    """The items of a list, of all pages."""
    found: list[Any] = []
    token: str | None = ""
    while token is not None:
        items, token = yield from _page(path, query, token, manners)
        found += items
    return found


def _page(
    path: str, query: Mapping[str, Any], token: str, manners: Manners
) -> Steps[tuple[list[Any], str | None]]:
    asked = {**query, **({"page_token": token} if token else {})}
    body = yield from document(Ask("GET", path, query=asked), manners)
    return body["items"], body.get("next_page_token") or None


def fetched(artifact_id: str, path: Path, manners: Manners) -> Steps[None]:
    """Write an artifact's bytes to a file, which appears only whole and checked.

    Raises:
        DamagedDownloadError: the bytes do not have the announced sha256.
    """
    yield from fetched_if_there(Ask("GET", f"/v1/artifacts/{artifact_id}/content"), path, manners)


def fetched_if_there(ask: Ask, path: Path, manners: Manners) -> Steps[httpx.Response]:
    """Write what a request is answered with to a file, unless the answer is 202: not yet.

    Raises:
        DamagedDownloadError: the bytes do not have the announced sha256.
    """
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        answer: tuple[httpx.Response, str] = yield from _patiently(Fetch(ask, part), manners)
        response, digest = answer
        if response.status_code == httpx.codes.ACCEPTED:
            return response
        announced = response.headers.get("etag", "").strip('"').removeprefix("sha256-")
        if digest != announced:
            raise DamagedDownloadError(
                f"{path.name}: wanted sha256 {announced or '(no ETag)'}, got {digest}"
            )
        part.replace(path)
        return response
    finally:
        part.unlink(missing_ok=True)


def require_success(response: httpx.Response) -> None:
    """Nothing, or the service's refusal as an exception."""
    if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = _ERRORS.get(response.status_code, ServiceError)
    raise kind(
        response.status_code,
        str(problem.get("code", "unknown")),
        str(problem.get("detail") or f"the service answered {response.status_code}"),
        tuple(problem.get("errors", ())),
        str(problem.get("request_id", "")),
    )


def content_of(artifact_id: str, manners: Manners) -> Steps[bytes]:
    """The bytes of a small file."""
    response = yield from answered(Ask("GET", f"/v1/artifacts/{artifact_id}/content"), manners)
    return response.content


def changed(path: str, change: Mapping[str, Any], manners: Manners) -> Steps[Any]:
    """Change what is said of something at its path; what there is then."""
    headers = {"Content-Type": "application/json"}
    content = json.dumps(dict(change)).encode()
    body = yield from document(Ask("PATCH", path, headers=headers, content=content), manners)
    return body


def deleted(path: str, manners: Manners) -> Steps[None]:
    """Delete something by its path."""
    yield from answered(Ask("DELETE", path), manners)
