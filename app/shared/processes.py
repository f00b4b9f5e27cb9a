"""Child processes that cannot outlive the process that started them (Linux)."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

PYTHON = (sys.executable, "-P")
"""Python as every part of the service is started: nothing is imported from the present folder."""

_LAUNCHER = Path(__file__).resolve().with_name("launcher.py")


def dying_with_us(
    argv: Sequence[str | os.PathLike[str]], *, death_signal: int, memory_bytes: int = 0
) -> list[str]:
    """The command line that starts `argv` as a child which does not outlive us.

    The kernel sends `death_signal` when the calling *thread* ends: start the child from a thread
    that lasts, the main one, and without a `preexec_fn`. On systems without that feature a
    `kill -9` of the caller leaves the child behind. The launcher costs some 17 ms.

    Args:
        argv: the program and its arguments. Where it cannot be executed the child says so on
            stderr and exits with status 127.
        death_signal: what the child gets when the calling thread ends.
        memory_bytes: the most address space that it may take; 0 sets no limit.
    """
    # Isolated and without site: the standard library alone, whatever the environment says.
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    numbers = (os.getpid(), int(death_signal), memory_bytes)
    return [
        *launcher,
        *(str(number) for number in numbers),
        *(os.fspath(argument) for argument in argv),
    ]
