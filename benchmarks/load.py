"""Servers in processes of their own, requests over kept connections, and what they cost the server.

Counted is the server's processor time: the wall clock on a shared machine says more of the others.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

N_CONNECTIONS = 16
START_SECONDS = 120.0


@dataclass(frozen=True)
class Served:
    """A server: its process, its port, and headers that each request to it carries."""

    process: subprocess.Popen[bytes]
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Processor time that it has taken so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """A request as it goes over the line."""
        content = b"" if body is None else json.dumps(body).encode()
        told = {"Host": f"127.0.0.1:{self.port}", **self.headers, **(headers or {})}
        if body is not None:
            told |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {told[name]}" for name in told)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Line:
    """A kept connection to a server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS)
        self._unread = b""

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request; status, headers and body of its answer."""
        self._socket.sendall(request)
        while b"\r\n\r\n" not in self._unread:
            self._read()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
        length = int(headers.get("content-length", "0"))
        while len(self._unread) < length:
            self._read()
        body, self._unread = self._unread[:length], self._unread[length:]
        return int(first.split()[1]), headers, body

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self) -> None:
        read = self._socket.recv(1 << 16)
        if not read:
            raise ConnectionError("the server hung up")
        self._unread += read


@contextlib.contextmanager
def line_to(served: Served) -> Iterator[Line]:
    """A connection, as long as the block."""
    with contextlib.closing(Line(served.port)) as line:
        yield line


@contextlib.contextmanager
def serving(
    argv: Sequence[str],
    log: Path,
    *,
    path: str,
    environment: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """A server that is given its listening socket as the last word of its command.

    Args:
        argv: the command but for the socket.
        log: gets what it prints.
        path: answers 200 once it is up.
        environment: added to ours.
        headers: of each request.
    """
    with socket.socket() as listener, log.open("ab") as output:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        process = subprocess.Popen(
            [sys.executable, "-m", *argv, str(listener.fileno())],
            env={**os.environ, **(environment or {})},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=output,
        )
        served = Served(process, listener.getsockname()[1], headers or {})
    try:
        with line_to(served) as line:
            status, _, body = line.ask(served.request("GET", path))
        if status != 200:
            raise RuntimeError(f"{argv} answers {status}: {body!r}")
        yield served
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def cost(served: Served, make: Callable[[], bytes], *, n: int, wanted: int) -> float:
    """Processor time of a server for one request, in seconds; the mean over n of them.

    Args:
        served: the server.
        make: gives the next request.
        n: how many are sent, over several connections at once.
        wanted: the status that each has to have.
    """

    def drive(_: int) -> None:
        with line_to(served) as line:
            for _ in range(n // N_CONNECTIONS):
                status, _, body = line.ask(make())
                if status != wanted:
                    raise RuntimeError(f"wanted {wanted}, got {status}: {body[:300]!r}")

    before = served.cpu_seconds()
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        list(pool.map(drive, range(N_CONNECTIONS)))
    return (served.cpu_seconds() - before) / (n // N_CONNECTIONS * N_CONNECTIONS)


def latencies(served: Served, make: Callable[[], bytes], *, n: int) -> list[float]:
    """Seconds by the wall clock of n requests, one after the other."""
    taken = []
    with line_to(served) as line:
        for _ in range(n):
            request, started = make(), time.perf_counter()
            line.ask(request)
            taken.append(time.perf_counter() - started)
    return taken
