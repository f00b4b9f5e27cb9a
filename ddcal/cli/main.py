"""The command `ddcal`: what it is made of, and its start."""

import os
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer
from typer.main import get_command

from ddcal.cli import (
    comparing,
    data,
    distil,
    downloading,
    jobs,
    networks,
    services,
    sets,
    studies,
    things,
)
from ddcal.cli.edge import EXIT_STATUS, Commands
from ddcal.cli.output import warn
from ddcal.finding import misspelt

app = typer.Typer(
    cls=Commands,
    help="Distil image data sets and calibrate the networks trained on them.",
    epilog="The key is that of DDCAL_API_KEY, or the one that `ddcal serve` keeps in its data "
    "folder (DDCAL_DATA_FOLDER, ddcal-data).\n\n" + EXIT_STATUS,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"ddcal {metadata.version('ddcal')}")
        raise typer.Exit


@app.callback()
def common(
    url: Annotated[  # noqa: ARG001 -- read by client_of
        str | None,
        typer.Option(
            metavar="URL",
            help="The service's address (default: DDCAL_URL, else the one running on the data "
            "folder).",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 -- its callback answers
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Warn of variables whose names are nearly those that are read."""
    for line in misspelt(os.environ):
        warn(line)


# In this order they stand in the help.
distil.add_to(app)
services.add_first_to(app)
jobs.add_to(app)
studies.add_to(app)
downloading.add_to(app)
comparing.add_to(app)
things.add_to(app)
data.add_to(app)
sets.add_to(app)
networks.add_to(app)
services.add_to(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status, as ddcal.cli.edge has it."""
    try:
        get_command(app).main(args=argv, prog_name="ddcal")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
