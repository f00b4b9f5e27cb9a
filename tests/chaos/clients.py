"""Clients: they submit, send again what was not answered, cancel, and remember what they heard."""

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import text

from app.shared.errors import UnavailableError
from tests.chaos.topology import Topology

FIRST_NUMBER = 10_000
ANSWER_SECONDS = 60
TINY = {"images_per_class": 1, "width": 4, "depth": 1, "batch_real": 4}
TINY_TRAIN = {"width": 4, "depth": 1, "n_seeds": 1, "epochs": 1}
N_SEEDS = 6
"""So few that the same recipe comes again and again."""


@dataclass
class Memory:
    """What clients know from answers alone.

    Attributes:
        accepted: job ids by the number of their submission.
        cancelled: ids of jobs whose cancel was acknowledged.
        counts: of what was done, by name.
    """

    accepted: dict[int, str] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    n_submissions: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_number(self) -> int:
        """A number for a submission, which no other has."""
        with self.lock:
            self.n_submissions += 1
            return FIRST_NUMBER + self.n_submissions

    def count(self, name: str) -> None:
        """One more of these."""
        with self.lock:
            self.counts[name] += 1


class Client(threading.Thread):
    """One user, at work until told to stop."""

    def __init__(self, topology: Topology, memory: Memory, seed: str) -> None:
        super().__init__(daemon=True)
        self._topology = topology
        self._memory = memory
        self._draw = random.Random(seed)
        self._stopping = threading.Event()
        self._http = httpx.Client(base_url=topology.url, trust_env=False, timeout=8)

    def run(self) -> None:
        """Keep a few jobs under way: mostly fewer than workers, so that a zombie has successors."""
        while not self._stopping.wait(self._draw.uniform(0.05, 0.5)):
            n_wanted = self._draw.choices((1, 2, 8), (4, 5, 1))[0]
            if self._n_open() < n_wanted:
                self._submit()
            if self._draw.random() < 0.06:
                self._cancel()
        self._http.close()

    def stop(self) -> None:
        """Let it finish what it is sending."""
        self._stopping.set()

    def _n_open(self) -> int:
        """Jobs that a worker may have or take."""
        query = "SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running', 'cancelling')"
        with (
            contextlib.suppress(UnavailableError),
            self._topology.database.read() as connection,
        ):
            return int(connection.execute(text(query)).scalar_one())
        return 1000

    def _submit(self) -> None:
        number = self._memory.next_number()
        request = {**self._request(), "timeout_seconds": number}
        headers = {"Idempotency-Key": f'"submission-{number}"'}
        self._memory.count(f"submit {request['kind']}")
        if self._draw.random() < 0.1:
            self._send_and_reset(request, headers)
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                response = self._http.post("/v1/jobs", json=request, headers=headers)
                if response.status_code < 500 and response.status_code != 409:
                    self._note(number, response)
                    return
            self._memory.count("submit sent again")
            time.sleep(0.2)
        self._memory.count("submit unanswered")

    def _note(self, number: int, response: httpx.Response) -> None:
        if response.status_code != 202:
            # What it wanted to go on from was cancelled meanwhile.
            self._memory.count(f"submit refused: {response.json()['code']}")
            return
        with self._memory.lock:
            self._memory.accepted[number] = response.json()["id"]

    def _send_and_reset(self, request: dict[str, Any], headers: dict[str, str]) -> None:
        """Send a whole request and reset the connection without waiting for the answer."""
        body = json.dumps(request).encode()
        lines = ["POST /v1/jobs HTTP/1.1", f"Host: 127.0.0.1:{self._topology.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
        address = ("127.0.0.1", self._topology.port)
        with contextlib.suppress(OSError), socket.create_connection(address, 2) as connection:
            connection.sendall("\r\n".join(lines).encode() + body)
            time.sleep(self._draw.choice((0, 0.005, 0.02, 0.1)))
            linger = struct.pack("ii", 1, 0)  # a close that resets
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._memory.count("connection reset")

    def _request(self) -> dict[str, Any]:
        kind = self._draw.choices(("distill", "pipeline", "train"), (6, 2, 2))[0]
        base = {"kind": kind, "reuse": self._draw.random() < 0.2}
        seed, n_steps = self._draw.randrange(N_SEEDS), self._draw.choice((8, 15, 30))
        distill = {**TINY, "iterations": n_steps}
        if kind == "distill":
            return {**base, "params": {"dataset": "digits", "seed": seed, "distill": distill}}
        if kind == "pipeline":
            params = {
                "dataset": "digits",
                "seed": seed,
                "distill": distill,
                "train": TINY_TRAIN,
                "baselines": [],
                "calibrate": [{"method": "none"}],
            }
            return {**base, "params": params}
        before = self._some_job()
        if before is None:
            params = {"dataset": "digits", "seed": seed, "distill": distill}
            return {**base, "kind": "distill", "params": params}
        source = {"source": "distilled", "distilled_set": before}
        return {**base, "params": {"training_set": source, "train": TINY_TRAIN}}

    def _some_job(self) -> str | None:
        """A recent job, which may have made a distilled set or be about to."""
        with self._memory.lock:
            recent = list(self._memory.accepted.values())[-4:]
        return self._draw.choice(recent) if recent else None

    def _cancel(self) -> None:
        job_id = self._some_job()
        if job_id is None:
            return
        with contextlib.suppress(httpx.TransportError):
            response = self._http.post(f"/v1/jobs/{job_id}/cancel")
            self._memory.count(f"cancel answered {response.status_code}")
            if response.is_success:
                with self._memory.lock:
                    self._memory.cancelled.append(job_id)
