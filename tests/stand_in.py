"""Somebody else's HTTP server on a port of this machine."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Asked(NamedTuple):
    """A request as it came; its key as it stood in Authorization, None without one."""

    method: str
    path: str
    key: str | None
    body: bytes


class Answered(NamedTuple):
    """What is sent back, with its length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@contextlib.contextmanager
def stand_in(answer: Callable[[Asked], Answered]) -> Iterator[int]:
    """Answer GET and POST on a free port until the block ends; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            asked = Asked(self.command, self.path, self.headers["Authorization"], body)
            status, sent, headers = answer(asked)
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(sent)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
