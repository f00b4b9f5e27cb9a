"""A program of its own that ties itself to its parent, sets its limit, and becomes another one.

    python -I -S launcher.py PARENT DEATH_SIGNAL MEMORY_BYTES PROGRAM [ARGUMENT ...]

A process with threads runs no Python between fork and exec: a lock that another thread held at the
fork stays held in the child for ever. What has to be set in the child is set here, after an exec.
app.shared.processes writes the command line. Few imports: each start of a trainer waits for them.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CANNOT_EXECUTE = 127  # as shells say it
# Python ignores these itself, and what is ignored stays so in the program that follows.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def die_with(parent: int, death_signal: int) -> None:
    """Have the kernel send us `death_signal` when the thread that started us ends (Linux).

    Exits where the process `parent`, which started us, has ended before. A later change of the
    user undoes it; a program executed in our place inherits it.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)


def become(argv: list[str]) -> None:
    """Execute a program in place of this one; exits with status 127 where that fails."""
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        sys.exit(_CANNOT_EXECUTE)


def _main() -> None:
    parent, death_signal, memory_bytes = (int(word) for word in sys.argv[1:4])
    die_with(parent, death_signal)
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    become(sys.argv[4:])


if __name__ == "__main__":
    _main()
