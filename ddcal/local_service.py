"""The files in a data folder by which a running `ddcal serve` is found, and its key.

The address is that of a running service only as long as its lock is held: a file that a kill left
behind may name a port on which somebody else listens by now, who must not be sent the key.
"""

import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

ADDRESS_FILE = "address"
"""Holds the service's URL while it is up."""

KEY_FILE = "api-key"
"""Holds the key that serve has made, for its own user alone."""

LOCK_FILE = "serve.lock"
"""Is locked while a service is up."""


def running_address(folder: Path) -> str | None:
    """The URL of the service that holds a data folder; None where none is up."""
    try:
        address = (folder / ADDRESS_FILE).read_text().strip()
        return address if _is_held(folder) else None
    except OSError:
        return None


def kept_key(folder: Path) -> str | None:
    """The key that serve has made for a data folder; None where there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return (folder / KEY_FILE).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_held(folder: Path) -> bool:
    if sys.platform == "win32":  # where no service runs
        return False
    with (folder / LOCK_FILE).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
