"""`ddcal compare`: results side by side, from their ids to a table and a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcal.cli.completing import complete_jobs
from ddcal.cli.descriptions import JobName, Notes, Tags, description
from ddcal.cli.edge import FAILED, AsJson, Command, client_of
from ddcal.cli.jobs import JOBS_PANEL, show_in_browser
from ddcal.cli.output import Column, percent, print_json, print_list
from ddcal.cli.watching import watched_from_afar
from ddcal.downloads import COMPARISON_PAGE
from ddcal.records import ResultRecord


def compare(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="REPORT|JOB...",
            help="Ids of reports, or of jobs for all the reports they have made; 2 to 50 reports.",
            autocompletion=complete_jobs,
        ),
    ],
    name: JobName = None,
    tags: Tags = None,
    notes: Notes = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the files to it (default: its id)."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Put finished results side by side: what differs, and what comes of it."""
    with client_of(context) as client:
        job = client.compare(names, **description(name, tags, notes))
        if not watched_from_afar(job):
            return FAILED
        (result,) = job.results
        written = result.download(out or Path(result.id))
    if as_json:
        print_json({"job": job.record, "comparison": result.record, "files": written})
        return 0
    print_comparison(result.record)
    page = next((path for path in written if path.name == COMPARISON_PAGE), None)
    if page is not None:
        print(f"\npage: {page.resolve()}")
        if browser:
            show_in_browser(page)
    return 0


def print_comparison(record: ResultRecord) -> None:
    """What a comparison has found, and its table: a line a combination of settings."""
    said = record.details
    print("\n".join(str(sentence) for sentence in said.get("findings", ())))
    lines: Sequence[Mapping[str, Any]] = said.get("lines", ())
    if not lines:
        return
    settings = list(dict.fromkeys(path for line in lines for path in line["settings"]))
    calibrations = list(dict.fromkeys(name for line in lines for name in line["ece"]))
    columns = [
        *(Column(path) for path in settings),
        Column("n", is_whole=True, is_number=True),
        Column("accuracy", is_whole=True, is_number=True),
        *(Column(f"ECE {name}", is_number=True) for name in calibrations),
    ]
    print()
    print_list(columns, [_cells(line, settings, calibrations) for line in lines])


def _cells(
    line: Mapping[str, Any], settings: Sequence[str], calibrations: Sequence[str]
) -> list[str]:
    return [
        *(_value(line["settings"].get(path)) for path in settings),
        str(line["n"]),
        percent(line["accuracy"]),
        *(percent(line["ece"].get(name)) for name in calibrations),
    ]


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=Command, rich_help_panel=JOBS_PANEL)(compare)
