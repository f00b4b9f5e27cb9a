"""The embedded service's parts: keeping programs alive, one at a time, on one data folder."""

import fcntl
import os
import socket
import threading

import pytest
import redis

from app.embedded.broker import await_broker, broker_argv, running_broker, socket_path
from app.embedded.children import spawn
from app.embedded.serve import (
    EmbeddedError,
    Program,
    backoff_seconds,
    look_after,
    serve,
    start,
    stop_in_order,
)
from app.shared.settings import Settings
from tests.waiting import has_ended, until


def program(tmp_path, script):
    """A shell script as a program to keep."""
    return Program("part", ("sh", "-c", script), dict(os.environ), tmp_path / "part.log")


@pytest.mark.parametrize(
    ("n_failures", "seconds"), [(1, 0.25), (2, 0.5), (3, 1), (7, 16), (8, 30), (10_000, 30)]
)
def test_backoff_doubles_up_to_half_a_minute(n_failures, seconds):
    """A quarter second after the first failure, twice as long after each more, never over 30 s."""
    assert backoff_seconds(n_failures) == seconds


def test_dead_program_is_started_again_and_its_last_words_shown(tmp_path):
    """A program that ends comes back as another process, after its log's end has been told."""
    said = []
    kept = start(program(tmp_path, "echo last words; sleep 60 & wait"))
    try:
        first = kept.process.pid
        until(lambda: "last words" in (tmp_path / "part.log").read_text())
        kept.process.kill()

        def is_another():
            look_after(kept, said.append)
            return kept.process.pid != first

        until(is_another)
        assert kept.process.poll() is None
        assert "part ended with status -9" in said[0]
        assert "| last words" in said[1]
    finally:
        stop_in_order([[kept]])


def test_leftovers_of_a_dead_program_do_not_work_beside_its_successor(tmp_path):
    """The children of a program that was killed are killed before it is started again."""
    note = tmp_path / "pid"
    kept = start(
        program(tmp_path, f"sleep 60 & echo $! > {note}.part; mv {note}.part {note}; wait")
    )
    try:
        until(note.exists)
        orphan = int(note.read_text())
        kept.process.kill()
        until(lambda: look_after(kept, lambda _: None) or kept.start_again is not None)
        until(lambda: has_ended(orphan))
    finally:
        stop_in_order([[kept]])


def test_failures_in_a_row_wait_longer(tmp_path):
    """A program that always fails is started less and less often."""
    said = []
    kept = start(program(tmp_path, "exit 3"))

    def has_failed_thrice():
        look_after(kept, said.append)
        return kept.n_failures == 3

    until(has_failed_thrice)
    pauses = [line.rpartition(" in ")[2] for line in said if "ended with status 3" in line]
    assert pauses == ["0.25 s", "0.5 s", "1 s"]


def test_a_program_that_never_stays_up_is_given_up(tmp_path):
    """A broken installation is told with its last words, not restarted for ever."""
    kept = start(program(tmp_path, "echo no such module; exit 1"))

    def look_until_hopeless():
        until(lambda: look_after(kept, lambda _: None), seconds=120)

    with pytest.raises(EmbeddedError, match=r"part does not stay up(.|\n)*no such module"):
        look_until_hopeless()
    assert kept.n_failures == 5


def test_groups_stop_in_order(tmp_path):
    """The second group is asked to stop only when the first has ended."""
    order = tmp_path / "order"
    script = (
        "trap 'sleep {0}; echo {1} >> {2}; exit' TERM; touch {2}.{1}; while :; do sleep 0.05; done"
    )
    slow = start(program(tmp_path, script.format(0.3, "slow", order)))
    quick = start(program(tmp_path, script.format(0, "quick", order)))
    for name in ("slow", "quick"):
        until(order.with_name(f"order.{name}").exists)
    stop_in_order([[slow], [quick]])
    assert order.read_text().split() == ["slow", "quick"]


def test_broker_keeps_its_queues_over_a_kill(tmp_path):
    """What was pushed stands again after the server is killed and started anew."""
    with socket_path(tmp_path) as path:
        process = spawn(broker_argv(tmp_path, path))
        await_broker(process, path)
        with redis.Redis(unix_socket_path=str(path)) as client:
            client.rpush("queue", "message", "another")
        process.kill()
        process.wait()
    with running_broker(tmp_path) as url, redis.from_url(unix(url)) as client:
        assert client.lrange("queue", 0, -1) == [b"message", b"another"]


def unix(url):
    """Celery's URL of a unix socket as redis-py reads it."""
    return url.replace("redis+socket://", "unix://")


def test_broker_refuses_tcp(tmp_path):
    """The embedded broker cannot be reached over the network at all."""
    with running_broker(tmp_path) as url, redis.from_url(unix(url)) as client:
        assert client.config_get("port") == {"port": "0"}


def test_long_folder_gets_a_short_socket(tmp_path):
    """A folder whose name is too long for a unix socket does not stop the broker."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with socket_path(folder) as path:
        assert len(str(path)) < 100
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    assert not path.parent.exists()


def test_data_folder_is_held_by_one_service(tmp_path):
    """A second serve on the same folder is told so at once."""
    with (tmp_path / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(EmbeddedError, match="another ddcal serve holds"):
            serve(Settings(data_folder=tmp_path, port=0), tell=print, stopping=threading.Event())


def test_taken_port_is_said(tmp_path):
    """A port in use is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"127.0.0.1:{port}.*--port"):
            serve(Settings(data_folder=tmp_path, port=port), tell=print, stopping=threading.Event())
