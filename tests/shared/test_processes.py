"""Children that die with their parent, started without Python between fork and exec."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.shared.processes import dying_with_us

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "app/shared/launcher.py"


def run(argv, **settings):
    """Run a program through the launcher to its end."""
    return subprocess.run(
        dying_with_us(argv, death_signal=signal.SIGKILL, **settings),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_takes_the_launchers_place():
    """Same process id, arguments as given, its own status."""
    argv = dying_with_us(["sh", "-c", 'echo $$ "$1"; exit 7', "sh", "a b"], death_signal=9)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate()
    assert (out, process.returncode) == (f"{process.pid} a b\n", 7)


def test_the_address_space_is_limited():
    """In kilobytes, as the shell tells it; without a limit the caller's own stays."""
    asked = ["sh", "-c", "ulimit -v"]
    assert run(asked, memory_bytes=2**30).stdout == "1048576\n"
    assert run(asked).stdout == subprocess.check_output(asked, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_no_signal_is_ignored_that_was_not():
    """Python ignores SIGPIPE; a program that inherited that would write into closed pipes."""
    line = run(["grep", "SigIgn", "/proc/self/status"]).stdout
    assert int(line.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_a_program_that_is_not_there_is_told():
    """As a shell says it."""
    done = run(["/nowhere/program"])
    assert done.returncode == 127
    assert "cannot start /nowhere/program: No such file" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_a_child_whose_parent_is_already_gone_does_not_start():
    """The signal would never come: what started it is not the process it was told of."""
    words = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getppid()), "9", "0"]
    done = subprocess.run([*words, "echo", "started"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.long
def test_nobody_runs_python_between_fork_and_exec():
    """A lock that another thread held at the fork stays held in the child for ever."""
    found = []
    for folder in ("app", "worker", "ddcal_core", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
            if "preexec_fn" in names:
                found.append(path.relative_to(ROOT).as_posix())
    assert found == []
