"""Starting and stopping child processes, none of which outlives its parent (Linux)."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.shared.processes import dying_with_us


def spawn(
    argv: Sequence[str | Path],
    *,
    log_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    pass_fds: Sequence[int] = (),
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that a terminal's Ctrl-C does not reach it.

    When the calling *thread* ends, however it ends, the kernel sends `death_signal`: call this
    from the main thread.

    Args:
        argv: the program and its arguments; status 127 where it cannot be executed.
        log_path: gets stdout and stderr, appended; None throws them away.
        environment: the whole environment; None inherits.
        folder: the working folder; None inherits.
        pass_fds: file descriptors that stay open in the child under the same number.
        death_signal: what the child gets when the calling thread ends.
    """
    log = subprocess.DEVNULL if log_path is None else _open_log(log_path)
    try:
        return subprocess.Popen(
            dying_with_us(argv, death_signal=death_signal),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=folder,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    finally:
        if log != subprocess.DEVNULL:
            os.close(log)


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def stop(
    process: subprocess.Popen[bytes],
    *,
    grace_seconds: float,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> int:
    """Ask a process to end, then kill it and what is left of its session; gives its exit status."""
    if process.poll() is None:
        process.send_signal(stop_signal)
    return wait_or_kill(process, deadline=time.monotonic() + grace_seconds)


def wait_or_kill(process: subprocess.Popen[bytes], *, deadline: float) -> int:
    """Wait until `deadline` (of time.monotonic), then kill the process's whole session."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(deadline - time.monotonic(), 0))
    # The leader may be gone and its children not; an empty group is what was wanted.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
