"""What `ddcal serve` writes for `ddcal.local_service` to find: its lock and its key."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from ddcal.local_service import KEY_FILE, LOCK_FILE, kept_key

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
    with (folder / LOCK_FILE).open("w") as lock:
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
