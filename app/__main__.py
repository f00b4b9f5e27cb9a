"""`python -P -m app PART`: run the service, or a part of it; what `ddcal serve` and others become.

Settings are checked first, and what is written is kept private. A part that runs for long replaces
this process, so that signals reach it. With -P no file of the folder one happens to be in is
imported instead of ours.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn

from app.embedded.broker import BrokerError
from app.embedded.parts import worker_argv
from app.embedded.programs import EmbeddedError
from app.embedded.serve import serve
from app.shared.processes import PYTHON
from app.shared.settings import Settings, SettingsError
from app.shared.startup import (
    INVALID_SETTINGS,
    complain,
    create_privately,
    private_folder,
    read_settings,
    unknown_variables,
)

TOLD_ERRORS = (EmbeddedError, BrokerError, OSError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one part; its exit status."""
    arguments = _parser().parse_args(argv)
    for line in unknown_variables(os.environ):
        _warn(line)
    try:
        return PARTS[arguments.part](arguments)
    except SettingsError as error:
        complain(str(error))
        return INVALID_SETTINGS
    except TOLD_ERRORS as error:
        return complain(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -P -m app")
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--queue", default="gpu,intake", help="of a worker (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="of housekeeping: only look")
    parser.add_argument("--json", action="store_true", help="of housekeeping and check")
    return parser


def _serve(_: argparse.Namespace) -> int:
    """Run the whole service until a signal comes."""
    settings = _prepared()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    serve(settings, tell=lambda line: print(line, flush=True), stopping=stopping)
    return 0


def _become_api(_: argparse.Namespace) -> NoReturn:
    _prepared()
    _become([*PYTHON, "-m", "app.server", "api"])


def _become_worker(arguments: argparse.Namespace) -> NoReturn:
    _become(worker_argv(arguments.queue, _prepared()))


def _become_migrations(_: argparse.Namespace) -> NoReturn:
    _prepared()
    _become([*PYTHON, "-m", "app.server", "migrate"])


def _become_housekeeping(arguments: argparse.Namespace) -> NoReturn:
    _prepared(makes_folder=False)
    dry_run = ["--dry-run"] if arguments.dry_run else []
    _become([*PYTHON, "-m", "app.housekeeping", *dry_run, *_json(arguments)])


def _become_check(arguments: argparse.Namespace) -> NoReturn:
    _prepared(makes_folder=False)
    _become([*PYTHON, "-m", "app.check", *_json(arguments)])


def _json(arguments: argparse.Namespace) -> list[str]:
    return ["--json"] if arguments.json else []


PARTS: Mapping[str, Callable[[argparse.Namespace], int]] = MappingProxyType(
    {
        "serve": _serve,
        "api": _become_api,
        "worker": _become_worker,
        "migrate": _become_migrations,
        "housekeeping": _become_housekeeping,
        "check": _become_check,
    }
)
"""The word on the command line -> what runs it."""


def _prepared(*, makes_folder: bool = True) -> Settings:
    """The settings of a part of the service, with its data folder and all that it writes private.

    Raises:
        SettingsError: before anything is started or written.
    """
    settings = read_settings()
    if makes_folder or settings.folder.exists():
        for line in private_folder(settings.folder):
            _warn(line)
    create_privately()
    return settings


def _become(argv: list[str]) -> NoReturn:
    sys.stdout.flush()
    os.execv(argv[0], argv)  # noqa: S606 -- no shell is the point


def _warn(text: str) -> None:
    print(f"ddcal: warning: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
