"""The nursery as a supervisor sees it: a child that has loaded torch and forks trainers.

What is said between the two stands in worker.nursery.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import BinaryIO

from app.shared.processes import PYTHON
from worker.supervisor.programs import ONE_THREAD, start_program

NURSERY_ARGV = (*PYTHON, "-m", "worker.nursery")
# For a nursery to tell that a trainer has ended, which it does at once.
PATIENCE_SECONDS = 30.0


class Nursery:
    """One process that lives for many jobs; it is started for the first, and again if it dies."""

    def __init__(self, argv: Sequence[str] = NURSERY_ARGV) -> None:
        """Start nothing yet."""
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def fork(self) -> "ForkedTrainer":
        """Ask for a trainer; from a thread that lasts, since a nursery dies with its thread.

        It is there as soon as the nursery has loaded, and ends at once where that fails.
        """
        process, requests = self._running()
        ours, theirs = socket.socketpair()
        stdin_reader, stdin_writer = os.pipe()
        stdout_reader, stdout_writer = os.pipe()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(requests, [b"+"], [stdin_reader, stdout_writer, theirs.fileno()])
        theirs.close()
        os.close(stdin_reader)
        os.close(stdout_writer)
        stdin, stdout = os.fdopen(stdin_writer, "wb"), os.fdopen(stdout_reader, "rb")
        return ForkedTrainer(process, ours, stdin, stdout)

    def close(self) -> None:
        """End it, and with it all trainers that are left."""
        if self._process is not None and self._requests is not None:
            self._requests.close()
            self._process.kill()
            self._process.wait()
        self._process = self._requests = None

    def _running(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None or self._requests is None:
            self._requests, theirs = socket.socketpair()
            with theirs:
                self._process = start_program(
                    [*self._argv, str(theirs.fileno())],
                    variables=ONE_THREAD,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        return self._process, self._requests


class ForkedTrainer:
    """What subprocess.Popen is to a program, to a trainer that a nursery forks.

    Attributes:
        stdin: what it reads.
        stdout: what it says.
    """

    def __init__(
        self,
        nursery: subprocess.Popen[bytes],
        line: socket.socket,
        stdin: BinaryIO,
        stdout: BinaryIO,
    ) -> None:
        """Wait for nothing."""
        self._nursery = nursery
        self._line: socket.socket | None = line
        self.stdin, self.stdout = stdin, stdout
        self._pid: int | None = None
        self._status: int | None = None
        self._heard = b""
        self._to_send: list[int] = []

    @property
    def pid(self) -> int | None:
        """Its process id; None while its nursery still loads, or if that died before the fork."""
        self._listen(0)
        return self._pid

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""
        self._listen(0)
        return self._status

    def wait(self) -> int:
        """Its exit status, once it has ended; its pid may be another's afterwards."""
        self._listen(PATIENCE_SECONDS)
        if self._status is None:  # the nursery hangs
            self._nursery.kill()
        while self._status is None:
            self._listen(None)
        if self._line is not None:
            self._line.close()
            self._line = None
        return self._status

    def send_signal(self, number: int) -> None:
        """Send it a signal, as soon as it is there."""
        if self.pid is None:
            self._to_send.append(number)
        elif self._status is None and self._pid is not None:
            os.kill(self._pid, number)

    def kill(self) -> None:
        """Kill it, from any thread; where it is not there yet, the nursery that is to fork it."""
        if self._pid is None:
            self._nursery.kill()
        elif self._status is None:
            os.kill(self._pid, signal.SIGKILL)

    def _listen(self, timeout_seconds: float | None) -> None:
        """Take what the nursery has told; waits so long for it."""
        if self._line is None or self._status is not None:
            return
        if not select.select([self._line], [], [], timeout_seconds)[0]:
            return
        said = self._line.recv(64)
        if not said:
            # A nursery that dies takes its trainers with it.
            self._status = -signal.SIGKILL if self._pid is not None else self._nursery.wait()
            return
        *numbers, self._heard = (self._heard + said).split(b"\n")
        for number in map(int, numbers):
            if self._pid is None:
                self._pid = number
            else:
                self._status = number
        if self._pid is not None:
            for number in self._to_send:
                os.kill(self._pid, number)
            self._to_send.clear()
