"""Signs of life: silence is counted while somebody listens, and each part shows that it goes on."""

import contextlib
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from app.embedded.broker import await_broker, broker_argv, socket_path
from app.embedded.children import spawn, stop
from app.embedded.programs import Program, look_after, start, stop_in_order
from app.embedded.signs import START_SECONDS, Answer, Heard, Pong, Silence, listening_at
from app.shared.signs_of_life import SIGNS_VARIABLE, sign_giver, sign_path
from tests.waiting import until

LIMIT = 60.0


class Clock:
    """One that goes when it is told to."""

    now = 1000.0

    def __call__(self):
        """Seconds."""
        return self.now


def after(looks, *, has_begun=True):
    """Whether a silence is too long after looks, each (seconds since the last, what is heard)."""
    clock = Clock()
    silence = Silence(LIMIT, clock=clock)
    if has_begun:
        silence.look(True)
    for seconds, is_given in looks:
        clock.now += seconds
        silence.look(is_given)
    return silence.is_too_long


def test_silence_beyond_the_limit_is_too_long():
    """And a sign breaks it."""
    assert not after([(3, False)] * 20)
    assert after([(3, False)] * 21)
    assert not after([(3, False)] * 20 + [(3, True)] + [(3, False)] * 20)


def test_what_was_not_listened_to_is_no_silence():
    """A laptop that has slept for a night, a serve that was frozen itself."""
    assert not after([(3, False)] * 5 + [(100_000, False)])
    # Where looks take long, as many are needed as a busy machine has time for.
    assert not after([(1000, False)] * 4)
    assert after([(1000, False)] * 5)


def test_a_part_that_starts_has_minutes_for_its_first_sign():
    """Imports on a busy machine take longer than any living part is silent."""
    n_looks = int(START_SECONDS / 3)
    assert not after([(3, False)] * n_looks, has_begun=False)
    assert after([(3, False)] * (n_looks + 1), has_begun=False)


def test_what_cannot_be_told_is_not_counted():
    """A worker waits for its broker; nor has it begun by that."""
    assert not after([(3, False)] * 20 + [(3, None)] + [(3, False)] * 20)
    assert not after([(3, None)] + [(3, False)] * 30, has_begun=False)


class Mute(BaseHTTPRequestHandler):
    """Refuses, which is an answer."""

    def do_GET(self):
        """Any refusal."""
        self.send_error(421)

    def log_message(self, *_):
        """Nothing."""


def test_any_answer_of_an_api_is_a_sign_and_an_open_port_is_none():
    """A frozen one still has its connections accepted, by the kernel."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Mute) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert Answer(*server.server_address).is_given(60)
        server.shutdown()
        thread.join()
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        address = frozen.getsockname()
        assert not Answer(*address).is_given(0.05)
    assert not Answer(*address).is_given(60)


@pytest.mark.broker
def test_a_frozen_broker_gives_no_sign(tmp_path):
    """Its socket still takes connections."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(socket_path(tmp_path))
        process = spawn(broker_argv(tmp_path, path))
        stack.callback(stop, process, grace_seconds=60)
        await_broker(process, path)
        assert Pong(path).is_given(60)
        os.kill(process.pid, signal.SIGSTOP)
        assert not Pong(path).is_given(0.05)
        os.kill(process.pid, signal.SIGCONT)


def test_a_loop_is_heard_as_often_as_it_turns(tmp_path):
    """What it says while nobody listens stops nobody; without a serve it says nothing."""
    answering = SimpleNamespace(is_given=lambda _: True)
    silent = SimpleNamespace(is_given=lambda _: False)
    prefix = str(tmp_path / "worker")
    give_sign = sign_giver("jobs", {SIGNS_VARIABLE: prefix})
    give_sign()
    with listening_at(sign_path(prefix, "jobs")) as ear:
        assert Heard("it", ear, answering).is_given(1) is False
        assert Heard("it", ear, silent).is_given(1) is None
        for _ in range(1000):
            give_sign()
        assert Heard("it", ear, silent).is_given(1) is True
        assert Heard("it", ear, answering).is_given(1) is False
    sign_giver("jobs", {})()


class Switch:
    """A sign that a test gives or withholds."""

    name = "its sign"

    def __init__(self):
        self.is_on = True
        self.n_looks = 0

    def is_given(self, _):
        """As the test has it."""
        self.n_looks += 1
        return self.is_on


@pytest.mark.long
def test_a_program_that_hangs_is_killed_and_started_again(tmp_path):
    """Though it lives; one that gives its signs is left alone."""
    switch, said = Switch(), []
    argv = ("sh", "-c", "trap '' TERM; sleep 600 & wait")
    log = tmp_path / "part.log"
    kept = start(Program("part", argv, dict(os.environ), log, signs=(switch,), hang_seconds=0.5))
    try:
        until(lambda: switch.n_looks > 40)
        look_after(kept, said.append)
        assert said == []
        first, switch.is_on = kept.process.pid, False
        until(lambda: look_after(kept, said.append) or said)
        assert "part hangs, its sign missing for 0.5 s: killing it" in said[0]
        assert "ended with status -9" in said[1]
        switch.is_on = True
        until(lambda: look_after(kept, said.append) or kept.process.pid != first)
        assert kept.process.poll() is None
    finally:
        stop_in_order([[kept]])
