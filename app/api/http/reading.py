"""What only reads: HEAD wherever GET is, and what a query or a Range may say."""

from collections import Counter
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.errors import problem_of, problem_response
from app.shared.errors import FieldProblem, InvalidRequestError

_RANGE = b"range"
REPEATABLE = frozenset({"tag", "mean", "std", "class_order", "report"})
"""Parameters that a query may have several times."""
_MAX_PARAMETERS = 1_100  # the classes of a data set, and the rest


class ReadingMiddleware:
    """ASGI middleware around the routes.

    HEAD is answered as GET without its body. Range is for GET alone, and one of another unit than
    bytes is ignored (RFC 9110, 14.2). A query that names a parameter twice, or
    very many of them, is refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _query_problem(scope["query_string"])
        if refusal is not None:
            request_id = scope["state"]["request_id"]
            problem = problem_of(refusal)
            response = problem_response(problem, path=scope["path"], request_id=request_id)
            await response(scope, receive, send)
            return
        if scope["method"] != "HEAD":
            scope["headers"] = [one for one in scope["headers"] if not _is_other_unit(*one)]
            await self._app(scope, receive, send)
            return
        own = dict(scope, method="GET")
        scope["state"]["is_head"] = True  # for what GET would change
        own["headers"] = [one for one in scope["headers"] if one[0].lower() != _RANGE]
        answer = _HeadersAlone(receive, send)
        try:
            await self._app(own, answer.receive, answer.send)
        finally:
            scope["route"] = own.get("route")  # the meter counts by it


class _HeadersAlone:
    """The way out of a HEAD: what would be a body is dropped, and an endless one ends."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._has_started = False

    async def receive(self) -> Message:
        """Say that nobody listens any more, once the headers are out."""
        return {"type": "http.disconnect"} if self._has_started else await self._receive()

    async def send(self, message: Message) -> None:
        """Pass the start on, with an empty body."""
        if message["type"] != "http.response.start":
            return
        self._has_started = True
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})


def _is_other_unit(name: bytes, value: bytes) -> bool:
    return name.lower() == _RANGE and value.partition(b"=")[0].strip().lower() != b"bytes"


def _query_problem(query: bytes) -> InvalidRequestError | None:
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
        )
    except ValueError:
        detail = f"wanted at most {_MAX_PARAMETERS} parameters in the query"
        return InvalidRequestError(
            "invalid_parameters", detail, [FieldProblem("/query", "too_many", detail)]
        )
    problems = [
        FieldProblem(
            f"/query/{name[:40]}", "repeated", f"wanted {name[:40]!r} once, got it {n} times"
        )
        for name, n in Counter(name for name, _ in pairs).items()
        if n > 1 and name not in REPEATABLE
    ]
    if not problems:
        return None
    return InvalidRequestError("invalid_parameters", problems[0].detail, problems)
