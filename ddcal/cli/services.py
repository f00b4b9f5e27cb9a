"""Commands that run the service or a part of it, or ask about it."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ddcal.cli.demo import demo as run_demo
from ddcal.cli.edge import FAILED, AsJson, Command
from ddcal.cli.output import complain, print_json
from ddcal.cli.programs import become
from ddcal.finding import KEY_VARIABLE, data_folder
from ddcal.local_service import kept_key

SERVICE_PANEL = "Run a service"
START_PANEL = "Start here"
MAX_WORKERS = 64  # as DDCAL_WORKERS has it

DataFolder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The service's folder (default: ddcal-data)."),
]
Host = Annotated[
    str | None, typer.Option(metavar="HOST", help="Listen on this (default: 127.0.0.1).")
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", help="The port; 0 for a free one (default: 8000).", min=0, max=65535
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Run so many jobs at once (default: 1).", min=1, max=MAX_WORKERS
    ),
]
NoKey = Annotated[
    bool,
    typer.Option("--no-key", help="Ask no program of this machine for a key; on loopback only."),
]


def serve(
    data_folder: DataFolder = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    no_key: NoKey = False,
) -> None:
    """Run the whole service on this machine, with broker and workers."""
    become(
        "serve",
        data_folder=data_folder,
        host=host,
        port=port,
        workers=workers,
        no_key=no_key or None,
    )


def api(host: Host = None, port: Port = None, no_key: NoKey = False) -> None:
    """Run the HTTP API alone."""
    become("api", host=host, port=port, no_key=no_key or None)


def worker(
    queue: Annotated[
        str, typer.Option(metavar="QUEUES", help="Serve these, separated by commas.")
    ] = "gpu,intake",
) -> None:
    """Run a worker alone, one job at a time."""
    become("worker", ["--queue", queue])


def migrate() -> None:
    """Bring the database's tables up to date."""
    become("migrate")


def housekeeping(
    data_folder: DataFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what nobody will read again, as the service does by itself."""
    options = [*(["--dry-run"] if dry_run else []), *_json(as_json)]
    become("housekeeping", options, data_folder=data_folder)


def check(data_folder: DataFolder = None, as_json: AsJson = False) -> None:
    """Verify database, files and running service; exit 1 if anything is wrong."""
    become("check", _json(as_json), data_folder=data_folder)


def _json(is_wanted: bool) -> list[str]:
    return ["--json"] if is_wanted else []


def key(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--data-folder", metavar="FOLDER", help="The service's folder (default: ddcal-data)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print the key of a service on this machine, for curl."""
    looked_in = folder or data_folder(os.environ)
    found = (None if folder else os.environ.get(KEY_VARIABLE)) or kept_key(looked_in)
    if found is None:
        complain(
            f"no key in {looked_in}: `ddcal serve` makes one there, unless DDCAL_API_KEY or "
            "--no-key is given; for another folder set DDCAL_DATA_FOLDER, or use --data-folder"
        )
        return FAILED
    if as_json:
        print_json({"key": found})
    else:
        print(found)
    return 0


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write the results to it.")] = Path(
        "ddcal-demo"
    ),
) -> int:
    """Run a small pipeline on digits, through a service of its own, to a report."""
    # As Ctrl-C: the service is stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_demo(out)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    commands: Sequence[Callable[..., object]] = (key, api, worker, migrate, housekeeping, check)
    for command in commands:
        app.command(cls=Command, rich_help_panel=SERVICE_PANEL)(command)


def add_first_to(app: typer.Typer) -> None:
    """Add those that one begins with."""
    app.command(cls=Command, rich_help_panel=START_PANEL)(demo)
    app.command(cls=Command, rich_help_panel=START_PANEL)(serve)
