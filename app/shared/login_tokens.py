"""Tokens that log a browser in once, as the address that `ddcal serve` prints has them.

Each is a file in the data folder, named by the token's digest: whoever deletes it has used it up,
whichever of several API processes it is, and nobody who reads the folder's names learns a token.
"""

import contextlib
import hashlib
import secrets
import time
from pathlib import Path

LIFE_SECONDS = 600


def make_token(folder: Path) -> str:
    """A token that can be used once, within `LIFE_SECONDS`; those that nobody used in time go."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # somebody has just used it up
            if not _is_fresh(old):
                old.unlink()
    token = secrets.token_urlsafe(32)
    _path(folder, token).touch(mode=0o600)
    return token


def use_token(folder: Path, token: str) -> bool:
    """Use a token up: True once for each that was made, and never too late."""
    path = _path(folder, token)
    try:
        is_fresh = _is_fresh(path)
        path.unlink()
    except FileNotFoundError:
        return False
    return is_fresh


def _path(folder: Path, token: str) -> Path:
    # "surrogatepass": whatever a query held, it is a name that is not there.
    return folder / hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _is_fresh(path: Path) -> bool:
    return abs(time.time() - path.stat().st_mtime) <= LIFE_SECONDS
