"""What the service costs beside a bare FastAPI application and a bare Celery task, in one run.

    python -m benchmarks.service [--only poll submit ...] [--rounds 3]

Prints, for each, the median over the rounds, the ratio to its floor, and what was aimed at.
Requests are counted in processor time of the server's process, dispatch and recovery by the clock.
"""

import argparse
import contextlib
import itertools
import os
import selectors
import signal
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from app.embedded.broker import running_broker
from app.shared.engine import runs
from app.shared.settings import Settings
from app.shared.store.database import Database, migrate, open_database
from benchmarks import dispatch
from benchmarks.load import Served, cost, latencies, line_to, serving
from ddcal.cli.own_service import own_service

KEY = "a-key-of-some-length"
SUBMISSION = {"kind": "distill", "params": {"dataset": "digits", "seed": 1}}
BARE_BODY = {"kind": "distill", "dataset": "digits", "seed": 1}
N_STREAMS = 300
N_EVENTS = 60
EVENT_PAUSE_SECONDS = 0.1
SIZES = (1_000, 1_000_000)
LONG_DISTILL = {
    "kind": "distill",
    "params": {
        "dataset": "digits",
        "distill": {"images_per_class": 1, "iterations": 20_000, "width": 4, "depth": 1},
    },
}

Part = Callable[[Path, argparse.Namespace], None]


def main(arguments: Sequence[str]) -> None:
    """Measure the parts asked for, each in a folder of its own."""
    parts: dict[str, Part] = {
        "poll": measure_requests,
        "submit": measure_requests,
        "hung": measure_hung,
        "stream": measure_stream,
        "list": measure_list,
        "dispatch": measure_dispatch,
        "recovery": measure_recovery,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=800, help="in each round, of each kind")
    options = parser.parse_args(arguments)
    for part in dict.fromkeys(parts[name] for name in options.only):
        with tempfile.TemporaryDirectory(prefix="service-") as folder:
            part(Path(folder), options)


def measure_requests(folder: Path, options: argparse.Namespace) -> None:
    """A poll and a submission, with the key of the service on each, beside a bare GET and POST."""
    with _servers(folder) as (bare, own):
        job, etag = _submitted(own)
        known = {"If-None-Match": etag}
        numbers = itertools.count()

        def submit() -> bytes:
            keyed = {"Idempotency-Key": f"key-{next(numbers)}"}
            return own.request("POST", "/v1/jobs", SUBMISSION, keyed)

        cases: dict[str, tuple[Served, Callable[[], bytes], int]] = {
            "bare GET": (bare, lambda: bare.request("GET", "/ok"), 200),
            "poll": (own, lambda: own.request("GET", job), 200),
            "poll, 304": (own, lambda: own.request("GET", job, headers=known), 304),
            "bare POST": (bare, lambda: bare.request("POST", "/ok", BARE_BODY), 200),
            "submit": (own, lambda: own.request("POST", "/v1/jobs", SUBMISSION), 202),
            "submit, with a key": (own, submit, 202),
        }
        rounds: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, (served, make, wanted) in cases.items():
                taken = cost(served, make, n=options.requests, wanted=wanted)
                rounds[name].append(taken * 1000)
        medians = {name: statistics.median(taken) for name, taken in rounds.items()}
    for name, floor, aim in (
        ("bare GET", "bare GET", ""),
        ("poll", "bare GET", "at most 6"),
        ("poll, 304", "bare GET", "at most 4"),
        ("bare POST", "bare POST", ""),
        ("submit", "bare POST", "at most 11"),
        ("submit, with a key", "bare POST", "at most 11"),
    ):
        _tell(name, medians[name], "ms of processor", medians[name] / medians[floor], aim)


def measure_hung(folder: Path, options: argparse.Namespace) -> None:
    """Submissions one after the other, while the broker answers and while it is stopped."""
    with _servers(folder) as (_, own):
        broker = _broker_of(folder)
        taken: dict[str, list[float]] = {"answering": [], "hung": []}
        for _ in range(options.rounds):
            for name, number in (("answering", signal.SIGCONT), ("hung", signal.SIGSTOP)):
                broker.send_signal(number)
                make = lambda: own.request("POST", "/v1/jobs", SUBMISSION)  # noqa: E731
                taken[name] += latencies(own, make, n=options.requests // 4)
        broker.send_signal(signal.SIGCONT)
    for share, words in ((0.5, "median"), (0.99, "99 %")):
        normal, hung = (_quantile(taken[name], share) * 1000 for name in ("answering", "hung"))
        _tell(f"submit, broker hung, {words}", hung, "ms", hung / normal, "no slower")


def measure_stream(folder: Path, options: argparse.Namespace) -> None:
    """Many clients follow one job."""
    with _servers(folder) as (_, own), _database(folder) as database:
        job, _ = _submitted(own)
        with database.write() as connection:
            run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=3600)
        if run is None:
            raise RuntimeError("there is no job to follow")
        taken = []
        request = own.request("GET", f"{job}/events", headers={"Accept": "text/event-stream"})
        with _streams(own, request) as streams:
            _await_events(streams, 2 * N_STREAMS)
            for _ in range(options.rounds):
                before = own.cpu_seconds()
                for step in range(N_EVENTS):
                    with database.write() as connection:
                        told = {"phase": "p", "step": step, "steps": N_EVENTS, "values": {}}
                        runs.beat(connection, run, lease_seconds=3600, progress=told, is_event=True)
                    time.sleep(EVENT_PAUSE_SECONDS)
                _await_events(streams, N_EVENTS * N_STREAMS)
                taken.append((own.cpu_seconds() - before) / (N_EVENTS * N_STREAMS))
        microseconds = statistics.median(taken) * 1e6
    _tell(f"event to {N_STREAMS} clients", microseconds, "µs of processor", None, "at most 80")


def measure_list(folder: Path, options: argparse.Namespace) -> None:
    """The newest 50 of few jobs and of many."""
    with contextlib.ExitStack() as stack:
        served = {}
        for size in SIZES:
            (folder / str(size)).mkdir()
            _, served[size] = stack.enter_context(_servers(folder / str(size)))
            _submitted(served[size])
            _multiply(folder / str(size) / "data" / "ddcal.sqlite", size)
        taken: dict[int, list[float]] = {size: [] for size in SIZES}
        for _ in range(options.rounds):
            for size, own in served.items():
                make = lambda own=own: own.request("GET", "/v1/jobs?page_size=50")  # noqa: E731
                taken[size].append(cost(own, make, n=options.requests // 4, wanted=200) * 1000)
    few, many = (statistics.median(taken[size]) for size in SIZES)
    _tell(f"list of 50 out of {SIZES[0]:,}", few, "ms of processor", None, "")
    _tell(f"list of 50 out of {SIZES[1]:,}", many, "ms of processor", many / few, "at most 2")


def measure_dispatch(folder: Path, options: argparse.Namespace) -> None:
    """From a job's commit to its computation, beside a bare task; see benchmarks.dispatch."""
    bare, own = dispatch.measure(folder, max(2 * options.rounds, 3))
    floor = statistics.median(bare) * 1000
    _tell("bare Celery task, send to start", floor, "ms", None, "")
    for name, taken in (
        ("job, commit to claim", [one.claim for one in own]),
        ("job, commit to compute start", [one.compute for one in own]),
    ):
        median = statistics.median(taken) * 1000
        _tell(name, median, "ms", median / floor, "at most 3" if "compute" in name else "")


def measure_recovery(folder: Path, _: argparse.Namespace) -> None:
    """From the kill of a worker, with its trainer, to the job's next attempt."""
    lease = Settings(data_folder=folder).lease_seconds
    with own_service(folder) as client:
        job = client.submit(LONG_DISTILL)
        _wait(lambda: job.refresh().state == "running" and job.record.progress)
        for process in psutil.process_iter(["cmdline", "environ"]):
            words = " ".join(process.info["cmdline"] or [])
            is_ours = (process.info["environ"] or {}).get("DDCAL_DATA_FOLDER") == str(folder)
            if is_ours and "worker.supervisor" in words and "-Q gpu" in words:
                process.kill()
        killed = time.time()
        _wait(lambda: len(job.refresh().record.attempts) > 1)
        again = job.record.attempts[1].started_at
        job.cancel()
    taken = again.timestamp() - killed
    _tell("kill to next attempt", taken, "s", None, f"at most the lease + 2: {lease + 2:g}")


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[tuple[Served, Served]]:
    """A bare application and ddcal's API, with a broker and a fresh SQLite database."""
    log = folder / "servers.log"
    with running_broker(folder) as broker_url:
        settings = Settings(data_folder=folder / "data", redis_url=broker_url)
        migrate(settings)
        environment = {
            "DDCAL_DATA_FOLDER": str(settings.folder),
            "DDCAL_REDIS_URL": broker_url,
            "DDCAL_API_KEY": KEY,
            "DDCAL_LOG_LEVEL": "WARNING",  # as the bare one, which logs no request
        }
        api = ["app.server", "api", "--fd"]
        headers = {"Authorization": f"Bearer {KEY}"}
        with (
            serving(["benchmarks.bare_service"], log, path="/ok") as bare,
            serving(api, log, path="/readyz", environment=environment, headers=headers) as own,
        ):
            yield bare, own


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Database]:
    database = open_database(Settings(data_folder=folder / "data"))
    try:
        yield database
    finally:
        database.close()


def _submitted(own: Served) -> tuple[str, str]:
    """A job that waits: its address and ETag."""
    with line_to(own) as line:
        _, headers, _ = line.ask(own.request("POST", "/v1/jobs", SUBMISSION))
        job = headers["location"]
        _, headers, _ = line.ask(own.request("GET", job))
    return job, headers["etag"]


def _broker_of(folder: Path) -> psutil.Process:
    for process in psutil.Process(os.getpid()).children(recursive=True):
        words = " ".join(process.cmdline())
        if str(folder) in words and "unixsocket" in words:
            return process
    raise RuntimeError("the broker is not among the children of this process")


@contextlib.contextmanager
def _streams(own: Served, request: bytes) -> Iterator[selectors.BaseSelector]:
    """Many connections on which one request has been sent."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(N_STREAMS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", own.port)))
            connection.sendall(request)
            selector.register(connection, selectors.EVENT_READ)
        yield selector


def _await_events(streams: selectors.BaseSelector, n: int) -> None:
    """Read until so many events have come, all streams together."""
    seen, deadline = 0, time.monotonic() + 120
    while seen < n:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{seen} of {n} events came")
        for key, _ in streams.select(1):
            if isinstance(key.fileobj, socket.socket):
                seen += key.fileobj.recv(1 << 20).count(b"\nid: ")


def _multiply(path: Path, n: int) -> None:
    """Copies of the one job that a database has, of different ids, ended."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(jobs)")]
        changed = {
            "id": "'job_00000000000000000000' || printf('%06x', i)",
            "state": "'cancelled'",
            "ended_at": "created_at",
        }
        values = ", ".join(changed.get(name, name) for name in names)
        connection.execute(
            f"INSERT INTO jobs ({', '.join(names)}) "
            "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers LIMIT ?) "
            f"SELECT {values} FROM jobs, numbers",
            (n,),
        )
        connection.commit()


def _wait(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 180
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing happened for three minutes")
        time.sleep(0.1)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _tell(name: str, value: float, unit: str, ratio: float | None, aim: str) -> None:
    shown = "" if ratio is None else f"{ratio:6.2f}x"
    print(f"{name:<36}{value:10.3f} {unit:<16}{shown:>8}   {aim}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
