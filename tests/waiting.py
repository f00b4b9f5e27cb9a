"""Waiting for things to happen, and telling dead processes from living ones."""

import time

import psutil


def until(condition, *, seconds=60.0, log=None):
    """Wait for something to become true; the time only bounds a hang, told with a log."""
    deadline = time.monotonic() + seconds
    while not condition():
        told = f": {log.read_text()}" if log is not None and log.exists() else ""
        assert time.monotonic() < deadline, f"waited in vain{told}"
        time.sleep(0.02)


def has_ended(pid):
    """Is a process gone, or a zombie that its foster parent has yet to bury?"""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until_all_have_ended(pids, *, seconds=60.0):
    """Wait until no process of these is left; names those that are."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if not has_ended(pid)]:
        assert time.monotonic() < deadline, [psutil.Process(pid).cmdline() for pid in left]
        time.sleep(0.02)
