"""/: the jobs and their reports, for people; one page without scripts that refreshes itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.api.http.dependencies import OwnerDep, ServiceDep
from app.api.job_views import job_body
from app.api.schemas.jobs import JobBody
from app.shared.store.catalog import Result, artifacts_of_resources, results_of_jobs
from app.shared.store.database import Connection
from app.shared.store.job_queries import NO_FAMILY, Family, families_of, list_jobs
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from app.web.login import logout_form
from app.web.page_layout import html_page
from ddcal_core.specs.results import Resource

router = APIRouter(include_in_schema=False)

N_JOBS = 50
REFRESH_SECONDS = 5
PATH = "/"
PAGES: Mapping[Resource, str] = {"comparison": "comparison.html", "report": "report.html"}
"""Results that are read as a page, and its file."""

PAGE = """<header>
<div><h1>ddcal</h1>
<p>Distilled data sets and calibrated networks: the latest jobs. This page refreshes itself.
<a href="/v1/datasets">data sets</a> · <a href="/v1/logits">logits</a> ·
<a href="/docs">API</a></p></div>
{logout}
</header>
{content}"""

TABLE = """<div class="wide"><table>
<thead><tr><th>Job</th><th>Data set</th><th>State</th><th>Progress</th><th>Submitted</th>
<th>Results</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>"""

EMPTY = """<p>No jobs yet. Submit one:
<code>ddcal submit FILE.json</code>, or <code>POST /v1/jobs</code>.</p>"""


@router.get(PATH)
def get_front_page(request: Request, service: ServiceDep, owner_id: OwnerDep) -> HTMLResponse:
    """The latest jobs, with progress and links to what they have made."""
    with service.database.read() as connection:
        jobs = list_jobs(connection, owner_id, filters={"parent_id": ""}, limit=N_JOBS)
        families = families_of(connection, owner_id, jobs)
        results = _result_links(connection, owner_id, jobs, families)
    now = datetime.now(UTC)
    rows = [
        _row(job_body(job, family=families.get(job.id, NO_FAMILY)), results.get(job.id, ()), now)
        for job in jobs
    ]
    content = TABLE.format(rows="\n".join(rows)) if rows else EMPTY
    logout = logout_form(service.access.key, request.state.session)
    return html_page(
        "ddcal",
        PAGE.format(logout=logout, content=content),
        refresh_seconds=REFRESH_SECONDS,
    )


def _result_links(
    connection: Connection, owner_id: str, jobs: Sequence[Job], families: Mapping[str, Family]
) -> dict[str, list[tuple[str, str]]]:
    """Words and address of each job's pages, and of how to use what it has made, by job.

    Of several results of one kind the newest.
    """
    top_of = {job.id: job.id for job in jobs}
    top_of |= {child.id: top for top, family in families.items() for child in family.shown}
    newest: dict[str, dict[Resource, Result]] = {}
    for resource in RESOURCES:
        for result in results_of_jobs(connection, owner_id, resource, list(top_of)):
            newest.setdefault(top_of[result.job_id], {})[resource] = result
    made = [found[one].id for found in newest.values() for one in PAGES if one in found]
    pages = {
        file.resource_id: f"/v1/artifacts/{file.id}/content"
        for file in artifacts_of_resources(connection, owner_id, made)
        if file.name in PAGES.values()
    }
    links: dict[str, list[tuple[str, str]]] = {}
    for job_id, found in newest.items():
        shown = [(one, pages.get(found[one].id)) for one in PAGES if one in found]
        links[job_id] = [(words, page) for words, page in shown if page]
        links[job_id] += [
            (f"use the {resource.replace('_', ' ')}", f"/results/{result.id}")
            for resource, result in found.items()
        ]
    return links


def _row(job: JobBody, results: Sequence[tuple[str, str]], now: datetime) -> str:
    links = [f'<a href="{escape(url)}">{escape(words)}</a>' for words, url in results]
    state = escape(_state_words(job))
    name = "" if job.name is None else f" {escape(job.name)}"
    cells = [
        f'<a href="{escape(job.links["self"])}">{escape(job.kind)}</a>{name}<br>'
        f"<small><code>{escape(job.id)}</code></small>",
        escape(job.dataset or ""),
        f'<span class="state {state}">{state}</span>',
        _progress(job),
        f'<span class="soft">{escape(_ago(job.created_at, now))}</span>',
        "<br>".join(links),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _state_words(job: JobBody) -> str:
    """A pipeline waits for its children all the while they work."""
    if job.state == "blocked" and job.counts.get("running"):
        return "running"
    return "waiting" if job.state == "blocked" else job.state


def _progress(job: JobBody) -> str:
    if job.error is not None:
        return f"<small>{escape(job.error.message[:300])}</small>"
    if job.progress is None or job.ended_at is not None:
        return ""
    at = job.progress
    label = f"{at.phase} {at.step}/{at.steps}"
    return f'<progress value="{at.fraction:.3f}"></progress><br><small>{escape(label)}</small>'


def _ago(time: datetime, now: datetime) -> str:
    seconds = max(int((now - time).total_seconds()), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
