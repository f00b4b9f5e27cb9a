import asyncio
import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from starlette.requests import Request

from app.api.http.event_reader import EventReader
from app.api.http.preferences import wait_seconds
from app.api.job_views import version_of
from app.shared.engine import runs
from app.shared.settings import Settings
from tests.api.serving import SET, problem, running_api

DISTILL = {"dataset": "digits"}
PIPELINE = {"dataset": "digits", "calibrate": [{"method": "none"}]}


def poll(api, job_id, etag, wait):
    """Look at a job whose ETag is known, and wait."""
    headers = {"If-None-Match": etag, "Prefer": wait}
    return api.client.get(f"/v1/jobs/{job_id}", headers=headers)


def changed_while_waiting(api, job_id, change):
    """The answer to a wait, begun before the change."""
    etag = api.client.get(f"/v1/jobs/{job_id}").headers["etag"]
    later = threading.Timer(0.3, change)
    later.start()
    started = time.monotonic()
    answer = poll(api, job_id, etag, "respond-async, wait=50")
    assert time.monotonic() - started < 40
    later.join()
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=50")
    assert answer.headers["etag"] != etag
    return answer.json()


@pytest.mark.long
def test_a_wait_ends_when_the_job_changes(api):
    """By a claim, by progress that is no event, by its end."""
    job_id = api.submit("distill", DISTILL)["id"]
    claimed = []
    body = changed_while_waiting(api, job_id, lambda: claimed.append(api.claim()))
    assert body["state"] == "running"

    def tell():
        with api.database.write() as connection:
            progress = {"phase": "p", "step": 1, "steps": 2}
            runs.beat(connection, claimed[0], lease_seconds=60, progress=progress)

    assert changed_while_waiting(api, job_id, tell)["progress"]["step"] == 1
    end = changed_while_waiting(
        api, job_id, lambda: api.succeed(claimed[0], ("distilled_set", SET, {}))
    )
    assert end["state"] == "succeeded"


def test_a_wait_for_a_pipeline_ends_when_a_child_changes(api):
    """Its ETag has the children's versions in it."""
    job_id = api.submit("pipeline", PIPELINE)["id"]
    body = changed_while_waiting(api, job_id, api.claim)
    assert "running" in [child["state"] for child in body["children"]]


def test_a_wait_that_was_for_nothing_is_304(shared_api):
    """After the time it gave, and not before."""
    job_id = shared_api.submit("distill", DISTILL)["id"]
    etag = shared_api.client.get(f"/v1/jobs/{job_id}").headers["etag"]
    started = time.monotonic()
    answer = poll(shared_api, job_id, etag, "wait=1")
    assert time.monotonic() - started >= 0.9
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.headers["etag"] == etag


def test_what_cannot_change_or_has_changed_is_not_waited_for(shared_api):
    """An old ETag, none, or a job that has ended: the answer comes at once."""
    job_id = shared_api.submit("distill", DISTILL)["id"]
    started = time.monotonic()
    assert poll(shared_api, job_id, '"old"', "wait=60").status_code == 200
    answer = shared_api.client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"})
    assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)
    shared_api.client.post(f"/v1/jobs/{job_id}/cancel")
    etag = shared_api.client.get(f"/v1/jobs/{job_id}").headers["etag"]
    assert poll(shared_api, job_id, etag, "wait=60").status_code == 304
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("preferences", "seconds"),
    [
        (["wait=30"], 30),
        (["respond-async", 'WAIT = "7";x=1, wait=9'], 7),
        (["wait=600"], 60),
        (["wait=0"], 0),
        (["wait"], None),
        (["wait=-1", "wait=1e3", "await=3", "wait=" + "9" * 40], None),
        ([], None),
    ],
)
def test_preferences_are_read_as_rfc_7240_writes_them(preferences, seconds):
    """What is none of it is ignored."""
    given = [(b"if-none-match", b"x"), *((b"prefer", one.encode()) for one in preferences)]
    assert wait_seconds(Request({"type": "http", "headers": given})) == seconds
    assert wait_seconds(Request({"type": "http", "headers": given[1:]})) is None


class CountingDatabase:
    """A database that counts the looks at it."""

    def __init__(self, database):
        self._database = database
        self.n_reads = 0

    @contextmanager
    def read(self):
        self.n_reads += 1
        with self._database.read() as connection:
            yield connection


def test_a_hundred_listeners_cost_no_more_looks_than_one(api):
    """Streams and waits alike: one thread, one look every so often for all of them."""
    job_id = api.submit("distill", DISTILL)["id"]
    run = api.claim()
    counting = CountingDatabase(api.database)
    pause = 0.1
    reader = EventReader(counting, poll_seconds=pause)

    def beat():
        with api.database.write() as connection:
            runs.beat(connection, run, lease_seconds=60, progress={"step": 1}, is_event=True)

    async def listen(n):
        threads = threading.active_count()
        with ExitStack() as stack:
            listening = [reader.listen(job_id, after=0) for _ in range(n)]
            streams = [stack.enter_context(one) for one in listening]
            for stream in streams:
                assert b"id: 2" in await anext(stream.lines())
            before, started = counting.n_reads, time.monotonic()
            waits = [reader.wait_for_change(version_of(run), seconds=60) for _ in range(n)]
            waiting = asyncio.gather(*waits)
            await asyncio.to_thread(beat)
            await waiting
            for stream in streams:
                assert b"id: 3" in await anext(stream.lines())
            # Each that begins or ends to wait hurries the next look; the rest comes by the clock.
            looks, elapsed = counting.n_reads - before, time.monotonic() - started
            assert threading.active_count() <= threads + 2  # the reader's and beat's
            return looks, elapsed

    looks, elapsed = asyncio.run(asyncio.wait_for(listen(100), 60))
    reader.stop()
    assert looks <= elapsed / pause + 10


def test_listeners_are_bounded(api):
    """One more than there may be is told to come back."""
    reader = EventReader(api.database, max_listeners=0)
    with pytest.raises(Exception, match="try again later") as refused:
        reader.require_room()
    assert refused.value.status == 503


def raw_answer(api, path, **headers):
    """An open connection on which a GET has been sent, and what has come of its answer so far."""
    url = api.client.base_url
    connection = socket.create_connection((url.host, url.port), timeout=30)
    lines = [f"GET {path} HTTP/1.1", f"Host: {url.host}:{url.port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return connection


def rest_of(connection):
    """All that still comes, until the other side closes."""
    with connection:
        received = b""
        while chunk := connection.recv(1 << 16):
            received += chunk
        return received


def test_streams_and_waits_end_properly_when_the_service_stops(migrated_sqlite, tmp_path):
    """A stream with its last chunk, a wait with its answer: nobody is cut off."""
    database = tmp_path / "ddcal.sqlite"
    shutil.copyfile(migrated_sqlite, database)
    settings = Settings(data_folder=tmp_path, database_url=f"sqlite:///{database}")
    with running_api(settings) as api:
        job_id = api.submit("distill", DISTILL)["id"]
        etag = api.client.get(f"/v1/jobs/{job_id}").headers["etag"]
        path = f"/v1/jobs/{job_id}"
        stream = raw_answer(api, f"{path}/events", Accept="text/event-stream")
        begun = b""
        while b"event: state" not in begun:
            begun += stream.recv(1 << 16)
        wait = raw_answer(api, path, If_None_Match=etag, Prefer="wait=60")
        time.sleep(0.5)
    assert rest_of(stream).endswith(b"0\r\n\r\n")
    assert rest_of(wait).startswith(b"HTTP/1.1 304 ")


def test_a_job_deleted_while_waited_for_is_404(api):
    """The answer is what a look would give now."""
    job_id = api.submit("distill", DISTILL)["id"]
    etag = api.client.get(f"/v1/jobs/{job_id}").headers["etag"]

    def delete():
        with api.database.write() as connection:
            connection.exec_driver_sql(f"DELETE FROM jobs WHERE id = '{job_id}'")

    later = threading.Timer(0.3, delete)
    later.start()
    problem(poll(api, job_id, etag, "wait=50"), 404)
    later.join()
