"""A trainer as its supervisor sees it: a child that is sent one job line and answers in lines."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from app.shared.processes import PYTHON
from app.shared.store.kinds import INTAKE_QUEUE, RARE_KINDS
from ddcal_core.intake.job_messages import JobLine, Message, read_message
from worker.supervisor.nursery import ForkedTrainer, Nursery
from worker.supervisor.programs import ONE_THREAD, start_program

INTAKE_ARGV = (*PYTHON, "-m", "ddcal_core.intake.process")
TRAINER_ARGV = (*PYTHON, "-m", "worker.trainer.trainer")
INTAKE_MEMORY_BYTES = 4 * 2**30
READ_BYTES = 1 << 16
MAX_LINE_BYTES = 64 << 20
# Of this process, as its supervisors are.
NURSERY = Nursery()


class TrainerProcess:
    """One child process for one job.

    Attributes:
        started: when it was started, by the clock of its supervisor, which sets it.
        device: type of the device it computes on; None until it has said so.
        memory_bytes: what it was last seen to hold; None before it was looked at.
        peak_memory_bytes: the most memory it has held.
        cpu_seconds: processor time it has taken.
    """

    def __init__(self, child: subprocess.Popen[bytes] | ForkedTrainer) -> None:
        """Take a child that was given pipes for its stdin and stdout."""
        self._process = child
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a trainer was started without its pipes")
        self._stdin, self._stdout = child.stdin, child.stdout
        self._unread = b""
        self._ended: str | None = None
        self._is_open = True
        self.started = time.monotonic()
        self.device: str | None = None
        self.memory_bytes: int | None = None
        self.peak_memory_bytes: int | None = None
        self.cpu_seconds: float | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None while its nursery still loads."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """May more messages come?"""
        return self._is_open

    def is_alive(self) -> bool:
        """Has it not ended yet?"""
        return self._process.poll() is None

    def send(self, job: JobLine) -> None:
        """Give it its job; a child that has died is noticed by the end of its messages."""
        if self._ended is not None:
            return
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(job.encoded())
            self._stdin.flush()

    def messages(self, timeout_seconds: float) -> list[Message]:
        """What it has said since the last call; waits so long for the first word.

        Raises:
            ValueError: it said something that is no message.
        """
        descriptor = self._stdout.fileno()
        if not self._is_open or not select.select([descriptor], [], [], timeout_seconds)[0]:
            return []
        read = os.read(descriptor, READ_BYTES)
        self._is_open = bool(read)
        self._unread += read
        # A line without an end must not fill the worker's memory.
        if len(self._unread) > MAX_LINE_BYTES:
            raise ValueError(f"a message is longer than {MAX_LINE_BYTES} bytes")
        # The last piece is a line that is still being written, or empty.
        *lines, self._unread = self._unread.split(b"\n")
        said = map(read_message, lines)
        return [message for message in said if message is not None]

    def has_spoken(self) -> bool:
        """Is there something that it has said, or its end, and nobody has read yet?"""
        return self._is_open and bool(select.select([self._stdout], [], [], 0)[0])

    def measure(self) -> None:
        """Take down the memory it holds and has held, and the processor time it has taken."""
        if self.pid is None:
            return
        folder = Path(f"/proc/{self.pid}")
        with contextlib.suppress(OSError, KeyError):
            lines = (folder / "status").read_text().splitlines()
            values = dict(line.split(":", 1) for line in lines)
            self.memory_bytes = int(values["VmRSS"].split()[0]) * 1024
            self.peak_memory_bytes = int(values["VmHWM"].split()[0]) * 1024
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; user and system time come 12th after it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            self.cpu_seconds = ticks / os.sysconf("SC_CLK_TCK")

    def ask_to_stop(self) -> None:
        """Let it stop at its next report."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, from any thread; `end` has still to be called."""
        self._process.kill()

    def end(self, grace_seconds: float) -> str:
        """Wait for its end, kill it and its children after so long; tells how it ended."""
        if self._ended is not None:  # its pid may be somebody else's by now
            return self._ended
        deadline = time.monotonic() + grace_seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        is_late = self._process.poll() is None
        if self.pid is None:
            self._process.kill()
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        self._ended = "was ended by its supervisor" if is_late else _in_words(status)
        self._is_open = False
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()
        return self._ended


def start_trainer(work: str) -> TrainerProcess:
    """A process that waits for one job of a queue, or of a rare kind.

    Those that wait in the queue of uploads know no torch.
    """
    if work in RARE_KINDS:
        return start_child(TRAINER_ARGV)
    if work == INTAKE_QUEUE:
        return start_child(INTAKE_ARGV, memory_bytes=INTAKE_MEMORY_BYTES)
    return TrainerProcess(NURSERY.fork())


def start_child(argv: Sequence[str], *, memory_bytes: int = 0) -> TrainerProcess:
    """A program of its own that waits for one job.

    Args:
        argv: the program and its arguments.
        memory_bytes: the most address space that it may take; 0 sets no limit.
    """
    pipe = subprocess.PIPE
    child = start_program(
        argv, memory_bytes=memory_bytes, variables=ONE_THREAD, stdin=pipe, stdout=pipe
    )
    return TrainerProcess(child)


def _in_words(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
