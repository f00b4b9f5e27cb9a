"""Commands about jobs: submit, watch, list, show, stop, fetch."""

import json
import sys
import tempfile
import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcal.cli.completing import complete_jobs
from ddcal.cli.descriptions import JobName, Notes, Tags, description, in_words
from ddcal.cli.edge import FAILED, NOT_DONE, AsJson, Command, client_of
from ddcal.cli.lists import (
    Limit,
    OfIpc,
    OfMethod,
    OnDataset,
    Search,
    Since,
    Tagged,
    Until,
    searched,
    show_found,
)
from ddcal.cli.output import Column, brief, complain, is_terminal, moment, print_json, say
from ddcal.cli.plans import show_plan
from ddcal.cli.watching import watched_from_afar
from ddcal.downloads import REPORT_PAGE
from ddcal.handles import Job
from ddcal.progress import duration
from ddcal.records import JobRecord

JOBS_PANEL = "Jobs"

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id.", autocompletion=complete_jobs)
]
Watch = Annotated[bool, typer.Option("--watch", help="Watch it until it ends.")]


class State(StrEnum):
    """The states of a job."""

    scheduled = "scheduled"
    blocked = "blocked"
    queued = "queued"
    running = "running"
    cancelling = "cancelling"
    succeeded = "succeeded"
    partial = "partial"
    failed = "failed"
    cancelled = "cancelled"
    expired = "expired"


def submit(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.json", help="The request; - for stdin.", dir_okay=False)
    ],
    name: JobName = None,
    tags: Tags = None,
    notes: Notes = None,
    watch: Watch = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Submit a job; prints its id.

    Name, tags and notes that are given win over those in the file.
    """
    content = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    try:
        content = described(content, description(name, tags, notes))
    except (ValueError, RecursionError) as error:
        complain(f"{file} is not JSON: {error}")
        return FAILED
    with client_of(context) as client:
        if dry_run:
            show_plan(client.plan(content), as_json=as_json)
            return 0
        return told(client.submit(content), watch=watch, as_json=as_json)


def described(content: bytes, said: dict[str, Any]) -> bytes:
    """A request with what is said of it beside, tags added to its own; else as it is.

    As it is, the service sees what a reader would let pass, such as a field given twice.

    Raises:
        ValueError, RecursionError: it is no JSON.
    """
    request = json.loads(content)
    if not said or not isinstance(request, dict):
        return content
    request = json.loads(content, object_pairs_hook=_each_once)
    own = request.get("tags")
    if isinstance(own, dict) and "tags" in said:
        said = {**said, "tags": {**own, **said["tags"]}}
    return json.dumps({**request, **said}).encode()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def retry(
    context: typer.Context, job_id: JobId, watch: Watch = False, as_json: AsJson = False
) -> int:
    """Submit a failed, cancelled or expired job once more; prints the new id."""
    with client_of(context) as client:
        return told(client.job(job_id).retry(), watch=watch, as_json=as_json)


def told(job: Job, *, watch: bool, as_json: bool) -> int:
    """Print a new job's id, and watch it where that was asked for."""
    if not as_json:
        print(job.id, flush=True)
    is_success = _watched(job) if watch else True
    if as_json:
        print_json(job.record)
    return 0 if is_success else FAILED


HAVE_PAGES = ("report", "comparison")


def _watched(job: Job) -> bool:
    """Show a job until it has ended; where it has made a page, tell how to read it."""
    is_success = watched_from_afar(job)
    pages = [one.resource for one in job.record.results if one.resource in HAVE_PAGES]
    if pages:
        say(f"its {pages[-1]}: ddcal show {job.id}, or in a browser ddcal open {job.id}")
    return is_success


def watch(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> int:
    """Show a job's progress until it ends; exit 0 if it succeeds."""
    with client_of(context) as client:
        job = client.job(job_id)
        is_success = _watched(job)
        if as_json:
            print_json(job.record)
    return 0 if is_success else FAILED


def jobs(
    context: typer.Context,
    state: Annotated[
        State | None,
        typer.Option(metavar="STATE", help="Only those queued, running, succeeded, failed, …"),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only of this kind, such as pipeline.")
    ] = None,
    dataset: OnDataset = None,
    method: OfMethod = None,
    ipc: OfIpc = None,
    mask: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="Only those with this share masked; 0 for none."
        ),
    ] = None,
    search: Search = None,
    tags: Tagged = None,
    since: Since = None,
    until: Until = None,
    show_parts: Annotated[
        bool, typer.Option("--all", help="List the jobs of pipelines as well.")
    ] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    of_job = {"state": state, "kind": kind, "dataset": dataset}
    of_set = {"method": method, "images_per_class": ipc, "mask_ratio": mask}
    filters = searched(search, tags, since, until, **of_job, **of_set)
    nothing = "no jobs like that" if filters else "no jobs"
    if not show_parts:
        filters["parent"] = "none"
    with client_of(context) as client:
        found = (job.record for job in client.jobs(**filters))
        show_found(found, JOB_COLUMNS, _cells, limit=limit, as_json=as_json, nothing=nothing)


JOB_COLUMNS = (
    Column("ID", is_whole=True),
    Column("STATE", is_whole=True),
    Column("JOB"),
    Column("NAME"),
    Column("CREATED", is_whole=True),
    Column("TOOK", is_extra=True),
    Column("DATA SET", is_extra=True),
    Column("TAGS", is_extra=True),
)


def _cells(job: JobRecord) -> list[str]:
    return [
        job.id,
        job.state,
        job.role or job.kind,
        job.name or "",
        moment(job.created_at),
        took(job),
        job.dataset or "",
        in_words(job.tags),
    ]


def took(job: JobRecord) -> str:
    """How long it ran; nothing where it has not ended."""
    if job.started_at is None or job.ended_at is None:
        return ""
    seconds = (job.ended_at - job.started_at).total_seconds()
    return brief(seconds) if is_terminal() else duration(seconds)


def cancel(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Stop a job, of a pipeline every part; prints its state."""
    with client_of(context) as client:
        job = client.job(job_id).cancel()
    if as_json:
        print_json(job.record)
    else:
        print(job.state)


def logs(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Print what a job's trainer has written."""
    with client_of(context) as client:
        log = client.job(job_id).log
    if as_json:
        print_json({"job": job_id, "log": log})
    else:
        sys.stdout.write(log)


def open_report(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> int:
    """Open a job's report or comparison in the browser; prints where it is."""
    with client_of(context) as client:
        job = client.job(job_id)
        if not job.record.is_done:
            complain(f"{job_id} is {job.state}: there is no report yet (ddcal watch {job_id})")
            return NOT_DONE
        # Not removed: the browser reads it when this command is over.
        path = Path(tempfile.mkdtemp(prefix="ddcal-")) / REPORT_PAGE
        job.save_report(path)
    if as_json:
        print_json({"job": job_id, "report": path})
        return 0
    print(path)
    show_in_browser(path)
    return 0


def show_in_browser(path: Path) -> None:
    """Open a page where somebody sits before a terminal."""
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
    ):
        app.command(name, cls=Command, rich_help_panel=JOBS_PANEL)(command)
