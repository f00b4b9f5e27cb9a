"""What every request passes first and every answer last: its id, the door, and the last net."""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from random import getrandbits
from time import perf_counter
from typing import assert_never

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.access import READING, Access
from app.api.http.errors import (
    MAX_PATH_SHOWN,
    PROBLEM_MEDIA_TYPE,
    Problem,
    problem_of,
    problem_response,
    status_problem,
)
from app.api.http.request_meter import NO_ROUTE, RequestMeter
from app.shared.json_logs import belonging_to

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CLIENT_GONE = 499  # its number in many logs: nobody was left to be answered

log = logging.getLogger(__name__)


class RequestMiddleware:
    """ASGI middleware around the whole application.

    It gives each request its id and its owner, asks the door whether to let it in, and sees to it
    that whatever fails inside leaves as a problem.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        meter: RequestMeter,
        *,
        owner_id: str,
        problem_page: Callable[[Request, Problem], Response | None],
    ) -> None:
        self._app = app
        self._problem_page = problem_page
        self._access = access
        self._meter = meter
        self._owner_id = owner_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {}).update(request_id=request_id, owner_id=self._owner_id)
        answer = _Answer(send, path=scope["path"], request_id=request_id)
        with belonging_to(request_id=request_id):
            try:
                await self._serve(scope, receive, answer, headers)
            finally:
                self._take_down(scope, answer)

    async def _serve(
        self, scope: Scope, receive: Receive, answer: "_Answer", headers: Headers
    ) -> None:
        try:
            admission = await self._access.admit(scope, receive, headers)
            match admission.refusal:
                case None:
                    await self._app(scope, admission.receive, answer.send)
                case Problem() as problem:
                    # A browser asks for the key by itself where it is challenged to.
                    is_asked = problem.status == HTTPStatus.UNAUTHORIZED
                    told = None if is_asked else self._problem_page(Request(scope), problem)
                    await (told or answer.problem(problem))(scope, receive, answer.send)
                case Response() as response:
                    await response(scope, receive, answer.send)
                case _:
                    assert_never(admission.refusal)
        except Exception as error:
            log.exception("a request has failed")
            # An answer that has begun cannot become a problem: the server cuts the connection.
            if answer.status is not None:
                raise
            await answer.problem(problem_of(error))(scope, receive, answer.send)

    def _take_down(self, scope: Scope, answer: "_Answer") -> None:
        """Count a request; the log has those that change something, and those that failed."""
        method, status = scope["method"], answer.status or CLIENT_GONE
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self._meter.count(route, method, status, answer.seconds)
        if status >= 500 or method not in READING:
            extra = {"status": status, "seconds": round(answer.seconds, 4)}
            log.info("%s %s", method, scope["path"][:MAX_PATH_SHOWN], extra=extra)


class _Answer:
    """The way out of one request: adds its id, and puts a problem for a refusal without one.

    Attributes:
        status: of the answer; None before it has begun.
        seconds: until it began.
    """

    def __init__(self, send: Send, *, path: str, request_id: str) -> None:
        self._send = send
        self._path = path
        self._request_id = request_id
        self._is_replaced = False
        self._began = perf_counter()
        self.status: int | None = None
        self.seconds = 0.0

    def problem(self, problem: Problem) -> Response:
        """A problem as the answer."""
        return problem_response(problem, path=self._path, request_id=self._request_id)

    async def send(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self.status, self.seconds = message["status"], perf_counter() - self._began
            message = await self._started(message)
        elif self._is_replaced:
            return
        await self._send(message)

    async def _started(self, message: Message) -> Message:
        headers = MutableHeaders(raw=list(message.get("headers", [])))
        status: int = message["status"]
        # A page for people may say what is wrong as well.
        is_ours = headers.get("content-type", "").startswith((PROBLEM_MEDIA_TYPE, "text/html"))
        if status >= 400 and not is_ours:
            return await self._replaced(status_problem(status, dict(headers)))
        headers["X-Request-ID"] = self._request_id
        headers.setdefault("X-Content-Type-Options", "nosniff")
        return {**message, "headers": headers.raw}

    async def _replaced(self, problem: Problem) -> Message:
        response = self.problem(problem)
        response.headers["X-Request-ID"] = self._request_id
        self._is_replaced = True
        await self._send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
            }
        )
        return {"type": "http.response.body", "body": response.body}


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else f"req_{getrandbits(96):024x}"
