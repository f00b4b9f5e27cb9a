"""Child processes: none outlives the process that started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.children import spawn, stop
from tests.waiting import has_ended, until

PARENT = """
import sys, time
from pathlib import Path
from app.embedded.children import spawn
child = spawn([sys.executable, "-c", "import time; time.sleep(3600)"])  # longer than any wait
Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_child_dies_with_a_killed_parent(tmp_path):
    """A kill -9 of the parent ends the child, although nobody asked it to."""
    note = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PARENT, note]) as parent:
        until(lambda: note.exists() and note.read_text())
        child = int(note.read_text())
        assert not has_ended(child)
        parent.kill()
    until(lambda: has_ended(child))


def test_child_has_a_session_of_its_own():
    """A Ctrl-C in the terminal reaches the parent's process group only."""
    process = spawn(["sleep", "60"])
    try:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    finally:
        stop(process, grace_seconds=60)


def test_stop_asks_first():
    """A process that ends when asked is not killed."""
    process = spawn(["sleep", "60"])
    assert stop(process, grace_seconds=60) == -signal.SIGTERM


def test_stop_kills_what_does_not_listen(tmp_path):
    """A process that ignores the request is killed once its grace is over."""
    ready = tmp_path / "ready"
    process = spawn(["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"])
    until(ready.exists)
    assert stop(process, grace_seconds=0.2) == -signal.SIGKILL


def test_stop_leaves_no_grandchild(tmp_path):
    """What a process left behind in its session goes too."""
    note = tmp_path / "pid"
    process = spawn(["sh", "-c", f"sleep 60 & echo $! > {note}.part; mv {note}.part {note}; wait"])
    until(note.exists)
    grandchild = int(note.read_text())
    process.kill()
    process.wait()
    assert not has_ended(grandchild)
    stop(process, grace_seconds=60)
    until(lambda: has_ended(grandchild))


def test_output_is_appended_to_the_log(tmp_path):
    """Both streams of two runs stand in the log, one after the other."""
    log = Path(tmp_path, "new folder", "log")
    for word in ("one", "two"):
        assert spawn(["sh", "-c", f"echo {word}; echo {word} >&2"], log_path=log).wait(60) == 0
    assert log.read_text().split() == ["one", "one", "two", "two"]
