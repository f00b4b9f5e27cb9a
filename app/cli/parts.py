"""The commands that run the service or a part of it: settings checked first, files kept private.

What runs for long replaces this process, so that signals reach it.
"""

import argparse
import os
import signal
import sys
import threading
from typing import Any, NoReturn, TypeAlias

from app.cli.console import warn
from app.embedded.parts import worker_argv
from app.embedded.serve import serve
from app.shared.settings import PREFIX, Settings
from app.shared.startup import create_privately, private_folder, read_settings

Given: TypeAlias = dict[str, Any]
"""Settings by name, as the command line has them."""


def run_serve(arguments: argparse.Namespace) -> int:
    """Run the whole service until a signal comes; the exit status."""
    settings = _prepared(_given(arguments, "data_folder", "host", "port", "no_key"))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    serve(settings, tell=lambda line: print(line, flush=True), stopping=stopping)
    return 0


def become_api(arguments: argparse.Namespace) -> NoReturn:
    """Become the HTTP API."""
    given = _given(arguments, "host", "port", "no_key")
    _prepared(given)
    _become([sys.executable, "-m", "app.server", "api"], given)


def become_worker(arguments: argparse.Namespace) -> NoReturn:
    """Become a worker."""
    _prepared({})
    _become(worker_argv(arguments.queue))


def become_migrations(_: argparse.Namespace) -> NoReturn:
    """Become the migrations of the database."""
    _prepared({})
    _become([sys.executable, "-m", "app.server", "migrate"])


def become_housekeeping(arguments: argparse.Namespace) -> NoReturn:
    """Become one round of housekeeping."""
    given = _given(arguments, "data_folder")
    _prepared(given, makes_folder=False)
    dry_run = ["--dry-run"] if arguments.dry_run else []
    _become([sys.executable, "-m", "app.cli.housekeeping", *dry_run], given)


def become_check(arguments: argparse.Namespace) -> NoReturn:
    """Become the verification of every stored file and of the database."""
    given = _given(arguments, "data_folder")
    _prepared(given, makes_folder=False)
    _become([sys.executable, "-m", "app.cli.check"], given)


def _given(arguments: argparse.Namespace, *names: str) -> Given:
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _prepared(given: Given, *, makes_folder: bool = True) -> Settings:
    """The settings of a part of the service, with its data folder and all that it writes private.

    Raises:
        SettingsError: before anything is started or written.
    """
    settings = read_settings(given)
    if makes_folder or settings.folder.exists():
        for line in private_folder(settings.folder):
            warn(line)
    create_privately()
    return settings


def _become(argv: list[str], given: Given | None = None) -> NoReturn:
    """Replace this process, so that signals reach the program itself.

    Args:
        argv: the program.
        given: settings that it finds in its environment.
    """
    sys.stdout.flush()
    variables = {f"{PREFIX}{name.upper()}": str(value) for name, value in (given or {}).items()}
    os.execve(argv[0], argv, {**os.environ, **variables})  # noqa: S606 -- no shell is the point
