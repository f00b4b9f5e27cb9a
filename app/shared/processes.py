"""Child processes that cannot outlive the process that started them (Linux)."""

import ctypes
import os
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: the child of a fork must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(death_signal: int) -> Callable[[], None]:
    """A preexec_fn that has the kernel send `death_signal` when the calling thread ends.

    Call it, and start the child, from a thread that lasts: the main one. On systems without that
    feature a `kill -9` of the caller leaves the child behind.
    """
    parent = os.getpid()

    def prepare() -> None:
        if sys.platform != "linux":
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return prepare
