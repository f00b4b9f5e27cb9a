import asyncio
import json
import threading
from contextlib import aclosing

import pytest

from app.api.http.event_reader import EventReader, server_sent_events
from app.shared.engine import runs
from tests.api.serving import SET, problem
from tests.waiting import until

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
STREAM = {"Accept": "text/event-stream"}


def parsed(lines):
    """The events of a stream's lines, read as WHATWG says: (id, type, data)."""
    events, fields = [], {}
    for line in lines:
        if line == "" and "data" in fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
        if line == "":
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
    return events


def seqs(lines):
    """The numbers of the events in some bytes of a stream."""
    return [seq for seq, *_ in parsed(lines.decode().split("\n"))]


def stream_of(api, job_id, **headers):
    """Open a stream."""
    return api.client.stream("GET", f"/v1/jobs/{job_id}/events", headers={**STREAM, **headers})


def test_a_stream_tells_what_happens_and_closes_after_the_end(api):
    """From the first event on, each once and in order, with those that come while it is open."""
    job_id = api.submit("distill", DISTILL)["id"]
    with stream_of(api, job_id) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.iter_lines()
        assert next(lines) == "retry: 3000"
        run = api.claim()
        with api.database.write() as connection:
            runs.beat(connection, run, lease_seconds=60, progress={"step": 1}, is_event=True)
        api.succeed(run, ("distilled_set", SET, {}))
        events = parsed(lines)
    assert [(seq, kind) for seq, kind, _ in events] == [
        (1, "state"), (2, "state"), (3, "progress"), (4, "state"),
    ]  # fmt: skip
    assert [data.get("state") for *_, data in events] == ["queued", "running", None, "succeeded"]


def test_a_stream_goes_on_where_the_client_has_been(api):
    """Last-Event-ID wins over ?after=; past the end nothing can follow: 204."""
    job_id, _ = api.make("distill", DISTILL)
    path = f"/v1/jobs/{job_id}/events"

    def told(query="", **headers):
        answer = api.client.get(path + query, headers={**STREAM, **headers})
        assert answer.status_code == 200
        return seqs(answer.content)

    assert told() == [1, 2, 3]
    assert told("?after=1") == [2, 3]
    assert told("?after=0", **{"Last-Event-ID": "2"}) == [3]
    answer = api.client.get(path, headers={**STREAM, "Last-Event-ID": "3"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("last", ["x", "-1", "1e3", "9" * 30])
def test_an_odd_last_event_id_is_400(shared_api, last):
    """It has to be a number we may have sent."""
    job_id = shared_api.submit("distill", DISTILL)["id"]
    headers = {**STREAM, "Last-Event-ID": last}
    problem(shared_api.client.get(f"/v1/jobs/{job_id}/events", headers=headers), 400)


def test_a_pipelines_stream_tells_of_its_children(api):
    """Type child, with role and state; the whole ends when all have."""
    params = {"dataset": "digits", "baselines": [], "calibrate": [{"method": "none"}]}
    job_id = api.submit("pipeline", params)["id"]
    with stream_of(api, job_id) as answer:
        lines = answer.iter_lines()
        next(lines)
        api.client.post(f"/v1/jobs/{job_id}/cancel")
        events = parsed(lines)
    children = {data["role"] for _, kind, data in events if kind == "child"}
    assert children == {"distill", "train-distilled", "calibrate-distilled", "evaluate"}
    assert events[-1][1:2] == ("state",)
    assert events[-1][2]["state"] == "cancelled"


def test_one_thread_reads_for_all_listeners_and_none_without(api):
    """It starts with the first and ends with the last."""
    reader = EventReader(api.database, poll_seconds=0.01)
    jobs = [api.submit("distill", DISTILL)["id"] for _ in range(2)]

    async def listen():
        before = threading.active_count()
        assert not reader.is_reading
        with (
            reader.listen(jobs[0], after=0) as first,
            reader.listen(jobs[0], after=0) as second,
            reader.listen(jobs[1], after=0) as third,
        ):
            got = [await anext(one.lines()) for one in (first, second, third)]
            assert threading.active_count() == before + 1
        return [seqs(lines) for lines in got]

    assert asyncio.run(listen()) == [[1], [1], [1]]
    until(lambda: not reader.is_reading)
    assert asyncio.run(listen()) == [[1], [1], [1]]
    until(lambda: not reader.is_reading)
    reader.stop()


def test_listeners_of_one_job_each_get_what_they_lack(api):
    """Who has seen more is sent less, though one look serves both."""
    reader = EventReader(api.database, poll_seconds=0.01)
    job_id, _ = api.make("distill", DISTILL)

    async def listen():
        with reader.listen(job_id, after=2) as late, reader.listen(job_id, after=0) as early:
            got = [seqs(await anext(one.lines())) for one in (early, late)]
            return got, late.n_pending

    assert asyncio.run(asyncio.wait_for(listen(), 60)) == ([[1, 2, 3], [3]], 0)
    reader.stop()


def test_silence_is_broken_by_pings(api):
    """A comment now and then, so that nobody on the way cuts the line."""
    reader = EventReader(api.database, poll_seconds=0.01, ping_seconds=0.02)
    job_id = api.submit("distill", DISTILL)["id"]

    async def first_lines():
        lines = server_sent_events(reader, job_id, after=1)
        async with aclosing(lines):
            return [await anext(lines) for _ in range(3)]

    assert asyncio.run(first_lines()) == [b"retry: 3000\n\n", b": ping\n\n", b": ping\n\n"]
    reader.stop()


def test_a_reader_that_stops_ends_its_streams(api):
    """A process that goes down leaves no listener waiting."""
    reader = EventReader(api.database, poll_seconds=0.01)
    job_id = api.submit("distill", DISTILL)["id"]

    async def lines_until_stopped():
        lines = server_sent_events(reader, job_id, after=1)
        async with aclosing(lines):
            await anext(lines)
            await asyncio.to_thread(reader.stop)
            return [line async for line in lines]

    assert asyncio.run(asyncio.wait_for(lines_until_stopped(), 10)) == []
    assert asyncio.run(asyncio.wait_for(lines_until_stopped_again(reader, job_id), 10)) == []


async def lines_until_stopped_again(reader, job_id):
    """What a stream opened after the stop gives beyond its first line."""
    lines = server_sent_events(reader, job_id, after=1)
    return [line async for line in lines][1:]


def test_a_slow_listener_misses_nothing(api):
    """Backlogs longer than what is read at once, and than what may pile up, come whole."""
    reader = EventReader(api.database, poll_seconds=0.01, read_limit=20, max_pending=30)
    job_id = api.submit("distill", DISTILL)["id"]
    run = api.claim()
    n_beats = 200
    with api.database.write() as connection:
        for step in range(n_beats):
            runs.beat(connection, run, lease_seconds=60, progress={"step": step}, is_event=True)

    async def read_slowly():
        got = []
        with reader.listen(job_id, after=0) as stream:
            lines = stream.lines()
            while len(got) < n_beats + 2:
                got += seqs(await anext(lines))
                await asyncio.sleep(0.05)
                assert stream.n_pending <= 50
        return got

    assert asyncio.run(asyncio.wait_for(read_slowly(), 60)) == list(range(1, n_beats + 3))
    reader.stop()
