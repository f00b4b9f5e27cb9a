"""Commands about jobs: submit, watch, list, show, stop, fetch."""

import itertools
import json
import sys
import tempfile
import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddcal.cli.completing import complete_jobs
from ddcal.cli.edge import FAILED, NOT_DONE, AsJson, client_of
from ddcal.cli.output import (
    Column,
    brief,
    complain,
    is_terminal,
    moment,
    print_json,
    print_list,
    say,
)
from ddcal.cli.watching import watched_from_afar
from ddcal.downloads import REPORT_PAGE
from ddcal.handles import Job
from ddcal.progress import duration
from ddcal.records import JobRecord

JOBS_PANEL = "Jobs"

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id.", autocompletion=complete_jobs)
]
Watch = Annotated[bool, typer.Option("--watch", help="And watch it to its end.")]


class State(StrEnum):
    """The states of a job."""

    scheduled = "scheduled"
    blocked = "blocked"
    queued = "queued"
    running = "running"
    cancelling = "cancelling"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    expired = "expired"


def submit(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.json", help="The request; - for stdin.", dir_okay=False)
    ],
    watch: Watch = False,
    as_json: AsJson = False,
) -> int:
    """Submit a job; prints its id."""
    content = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        complain(f"{file} is not JSON: {error}")
        return FAILED
    # As it is: the service sees what a reader would let pass, such as a name given twice.
    with client_of(context) as client:
        return _told(client.submit(content), watch=watch, as_json=as_json)


def retry(
    context: typer.Context, job_id: JobId, watch: Watch = False, as_json: AsJson = False
) -> int:
    """Submit once more what failed, was cancelled or expired; prints the new job's id."""
    with client_of(context) as client:
        return _told(client.job(job_id).retry(), watch=watch, as_json=as_json)


def _told(job: Job, *, watch: bool, as_json: bool) -> int:
    """Print a new job's id, and watch it where that was asked for."""
    if not as_json:
        print(job.id, flush=True)
    is_success = watched_from_afar(job) if watch else True
    if as_json:
        print_json(job.record)
    return 0 if is_success else FAILED


def watch(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> int:
    """Show a job's progress until it ends; exit 0 if it succeeds."""
    with client_of(context) as client:
        job = client.job(job_id)
        is_success = watched_from_afar(job)
        if as_json:
            print_json(job.record)
    return 0 if is_success else FAILED


def jobs(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only of this kind.")] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those on this data set.")
    ] = None,
    show_parts: Annotated[bool, typer.Option("--all", help="The parts of pipelines too.")] = False,
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    given = {"state": state, "kind": kind, "dataset": dataset}
    filters = {name: str(value) for name, value in given.items() if value is not None}
    if not show_parts:
        filters["parent"] = "none"
    with client_of(context) as client:
        found = [job.record for job in itertools.islice(client.jobs(**filters), limit + 1 or None)]
    is_cut = 0 < limit < len(found)
    found = found[:limit] if is_cut else found
    if as_json:
        print_json(found)
    elif found:
        print_list(JOB_COLUMNS, [_cells(job) for job in found])
    else:
        say("no jobs" + (" like that" if filters.keys() - {"parent"} else ""))
    if is_cut:
        say(f"these are the newest {limit}: for more give --limit")


JOB_COLUMNS = (
    Column("ID", is_whole=True),
    Column("STATE", is_whole=True),
    Column("JOB"),
    Column("CREATED", is_whole=True),
    Column("TOOK", is_extra=True),
    Column("DATA SET", is_extra=True),
)


def _cells(job: JobRecord) -> list[str]:
    return [job.id, job.state, job.title, moment(job.created_at), took(job), job.dataset or ""]


def took(job: JobRecord) -> str:
    """How long it ran; nothing where it has not ended."""
    if job.started_at is None or job.ended_at is None:
        return ""
    seconds = (job.ended_at - job.started_at).total_seconds()
    return brief(seconds) if is_terminal() else duration(seconds)


def cancel(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Ask a job to stop; of a pipeline, every part. Prints its state."""
    with client_of(context) as client:
        job = client.job(job_id).cancel()
    if as_json:
        print_json(job.record)
    else:
        print(job.state)


def logs(context: typer.Context, job_id: JobId) -> None:
    """Print what a job's trainer has written."""
    with client_of(context) as client:
        sys.stdout.write(client.job(job_id).log)


def download(
    context: typer.Context,
    job_id: JobId,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="To write to (JOB).")] = None,
    as_json: AsJson = False,
) -> int:
    """Fetch all that a job has made; exit 3 if it has not ended."""
    with client_of(context) as client:
        written = client.job(job_id).download(out or Path(job_id))
    if not written:
        complain(f"{job_id} has made no files")
        return FAILED
    if as_json:
        print_json([str(path) for path in written])
    else:
        print("\n".join(map(str, written)))
    return 0


def open_report(context: typer.Context, job_id: JobId) -> int:
    """Open a job's report in the browser; prints where it is."""
    with client_of(context) as client:
        job = client.job(job_id)
        if not job.record.is_done:
            complain(f"{job_id} is {job.state}: there is no report yet (ddcal watch {job_id})")
            return NOT_DONE
        # Not removed: the browser reads it when this command is over.
        path = Path(tempfile.mkdtemp(prefix="ddcal-")) / REPORT_PAGE
        job.save_report(path)
    show_in_browser(path)
    return 0


def show_in_browser(path: Path) -> None:
    """Print where a page is, and open it where somebody sits before a terminal."""
    print(path)
    if is_terminal() and not webbrowser.open(path.resolve().as_uri()):
        say("no browser was found: open it by hand")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (
        ("submit", submit),
        ("watch", watch),
        ("jobs", jobs),
        ("cancel", cancel),
        ("retry", retry),
        ("logs", logs),
        ("open", open_report),
        ("download", download),
    ):
        app.command(name, rich_help_panel=JOBS_PANEL)(command)
