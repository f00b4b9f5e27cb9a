"""The embedded service's parts: the broker, and one service on one data folder and port."""

import fcntl
import os
import socket
import threading

import pytest
import redis

from app.embedded.broker import await_broker, broker_argv, running_broker, socket_path
from app.embedded.children import spawn
from app.embedded.parts import broker_program
from app.embedded.programs import EmbeddedError, look_after, start, stop_in_order
from app.embedded.serve import serve
from app.embedded.signs import Pong
from app.shared.settings import Settings
from tests.waiting import until


@pytest.mark.broker
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


@pytest.mark.broker
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


@pytest.mark.broker
@pytest.mark.parametrize("name", ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"])
def test_a_damaged_broker_file_is_set_aside(tmp_path, name):
    """The broker comes up with an empty one, and the file is kept to be looked at."""
    settings, said = Settings(data_folder=tmp_path), []
    folder = tmp_path / "redis"
    folder.mkdir()
    with running_broker(folder) as url, redis.from_url(unix(url)) as client:
        client.rpush("queue", "message")
    damaged = folder / "appendonlydir" / name
    damaged.write_bytes(b"\xff" * 100 + damaged.read_bytes())
    with socket_path(folder) as path:
        kept = start(broker_program(settings, dict(os.environ), path))
        try:
            until(lambda: look_after(kept, said.append) or Pong(path).is_given(10))
            with redis.Redis(unix_socket_path=str(path)) as client:
                assert client.keys() == []
        finally:
            stop_in_order([[kept]])
    aside = folder / "appendonlydir.damaged"
    assert f"the broker's file cannot be read: it was set aside as {aside}" in said
    assert (aside / name).read_bytes().startswith(b"\xff")
