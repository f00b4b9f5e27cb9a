"""The files in a data folder by which a running `ddcal serve` is found, and its key.

The address is that of a running service only as long as its lock is held: a file that a kill left
behind may name a port on which somebody else listens by now, who must not be sent the key.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

ADDRESS_FILE = "address"
"""Holds the service's URL while it is up."""

KEY_FILE = "api-key"
"""Holds the key that serve has made, for its own user alone."""

_LOCK_FILE = "serve.lock"
_KEY_BYTES = 32
_HOLD_SECONDS = 1.0
_LOOK_SECONDS = 0.02


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a data folder, so that two services do not share it.

    Raises:
        BlockingIOError: another service holds it.
    """
    deadline = time.monotonic() + _HOLD_SECONDS
    with (folder / _LOCK_FILE).open("w") as lock:
        while True:
            try:
                # The kernel lets go of it however serve ends: no stale lock is left to clear away.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Who looks whether a service is up has it for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_SECONDS)
        yield


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


def keep_key(folder: Path) -> str:
    """The key of a data folder, made where there is none; the caller holds the folder."""
    key = kept_key(folder)
    if key is None:
        key = secrets.token_urlsafe(_KEY_BYTES)
        part = folder / f"{KEY_FILE}.part"
        part.unlink(missing_ok=True)
        # For its user alone from the first moment on, whatever the umask is.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(descriptor)
        part.rename(folder / KEY_FILE)
    return key


def _is_held(folder: Path) -> bool:
    with (folder / _LOCK_FILE).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
