"""A program that runs another as nobody: PostgreSQL refuses root.

    python -m tests.as_nobody PARENT DEATH_SIGNAL PROGRAM [ARGUMENT ...]

Where this process may make user namespaces, files stay root's and only the name changes.
"""

import ctypes
import os
import sys
from pathlib import Path

from app.shared.launcher import become, die_with

NOBODY = 65534
_CLONE_NEWUSER = 0x10000000


def _become_nobody_in_namespace() -> None:
    """Look like another user to ourselves."""
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespaces here")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {uid} 1"),
        ("gid_map", f"{NOBODY} {gid} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def _has_namespaces() -> bool:
    """May we make user namespaces? A fork tries: we have no threads."""
    child = os.fork()
    if child == 0:
        try:
            _become_nobody_in_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _become_nobody() -> None:
    if _has_namespaces():
        _become_nobody_in_namespace()
        return
    os.chown(Path.cwd(), NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main() -> None:
    """Run as a program, as nobody if we are root."""
    parent, death_signal = int(sys.argv[1]), int(sys.argv[2])
    if os.geteuid() == 0:
        _become_nobody()
    die_with(parent, death_signal)  # last: a change of the user undoes it
    become(sys.argv[3:])


if __name__ == "__main__":
    main()
