"""The process that has loaded torch once, and forks every trainer from itself.

    python -P -m worker.nursery REQUESTS

Loading torch takes seconds of processor time, a fork takes milliseconds. The nursery computes
nothing, so that no trainer sees what another has done, and has one thread, so that no lock is held
at a fork; where a library has started another, trainers are started as programs instead.

Over the socket REQUESTS it is sent three descriptors for each trainer: its stdin, its stdout, and
a line on which its supervisor is told its pid, then its exit status. A trainer that has ended keeps
its pid until the supervisor closes that line: nobody else can be killed in its place.
"""

import contextlib
import gc
import os
import random
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

# What trainers import by need costs as much as torch: here it is paid for once, not by each job.
import sklearn.datasets
import sklearn.isotonic
import sklearn.model_selection  # noqa: F401

from app.shared.launcher import die_with
from app.shared.processes import PYTHON, dying_with_us
from worker.trainer import trainer

PROGRAM = (*PYTHON, "-m", "worker.trainer.trainer")
DESCRIPTORS_EACH = 3


class Nursery:
    """Forks a trainer for each request, and tells how it ends."""

    def __init__(self, requests: socket.socket) -> None:
        """Listen to a supervisor, and for the ends of children."""
        requests.set_inheritable(False)
        self._requests = requests
        self._wake_reader, wake_writer = os.pipe()
        os.set_blocking(wake_writer, False)
        os.set_blocking(self._wake_reader, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._own = (requests.fileno(), self._wake_reader, wake_writer)
        self._pids: dict[int, int] = {}  # by line
        self._told: set[int] = set()  # lines on which the end was told

    def serve(self) -> None:
        """Do what is asked until the supervisor hangs up; trainers end with this process."""
        while True:
            ready, _, _ = select.select([*self._own[:2], *self._pids], [], [])
            if self._wake_reader in ready:
                os.read(self._wake_reader, 4096)
                self._tell_ends()
            for line in self._pids.keys() & set(ready):
                self._bury(line)
            if self._requests.fileno() in ready and not self._start():
                return

    def _start(self) -> bool:
        # No program that is started here inherits them, nor the socket they come by.
        said, descriptors, _, _ = socket.recv_fds(
            self._requests, 1, DESCRIPTORS_EACH, socket.MSG_CMSG_CLOEXEC
        )
        if not said:
            return False
        stdin, stdout, line = descriptors
        pid = self._fork(stdin, stdout, line) if has_one_thread() else spawn(stdin, stdout)
        os.close(stdin)
        os.close(stdout)
        self._pids[line] = pid
        say(line, pid)
        return True

    def _fork(self, stdin: int, stdout: int, line: int) -> int:
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                for descriptor in (*self._own, *self._pids, line):
                    os.close(descriptor)
                become_trainer(nursery, stdin, stdout)
            except Exception:  # noqa: BLE001  nothing above it is to run in a child
                traceback.print_exc()
            finally:
                os._exit(1)
        return pid

    def _tell_ends(self) -> None:
        for line, pid in self._pids.items():
            if line in self._told:
                continue
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                has_exited = ended.si_code == os.CLD_EXITED
                self._told.add(line)
                say(line, ended.si_status if has_exited else -ended.si_status)

    def _bury(self, line: int) -> None:
        """Forget a trainer whose supervisor has hung up."""
        os.close(line)
        pid = self._pids.pop(line)
        self._told.discard(line)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def say(line: int, number: int) -> None:
    """Tell the supervisor a number, if it still listens."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        os.write(line, b"%d\n" % number)


def has_one_thread() -> bool:
    """Is it safe to fork? Only Linux tells."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except FileNotFoundError:
        return False


def become_trainer(nursery: int, stdin: int, stdout: int) -> NoReturn:
    """Be, in a process just forked, what `python -m worker.trainer.trainer` is."""
    # Its children die with it, and a Ctrl-C at the terminal is for the service alone.
    os.setsid()
    die_with(nursery, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    os.close(stdin)
    os.close(stdout)
    random.seed()
    trainer.end(trainer.main())


def spawn(stdin: int, stdout: int) -> int:
    """Start a trainer as a program of its own, which loads torch again."""
    argv = dying_with_us(PROGRAM, death_signal=signal.SIGKILL)
    ends = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=ends, setsid=True)


def main() -> None:
    """Serve the supervisor that has started this process."""
    # What is here before the first fork is never collected: its pages stay shared.
    gc.collect()
    gc.freeze()
    Nursery(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
