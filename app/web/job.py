"""/jobs/ID: one job, to watch it at work, and to see what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.api.job_logs import LogEnd, log_end
from app.api.job_snapshots import maker_of, snapshot_bodies, snapshots_of
from app.api.job_views import family_of, job_summary, results_made, whole_job_body
from app.api.schemas.jobs import JobBody, JobSummary, SnapshotBody
from app.shared.engine.events import Event
from app.shared.store.catalog import Result, artifacts_of_resources
from app.shared.store.database import Connection
from app.shared.store.job_queries import Family, find_job, needs_of
from app.shared.store.job_records import Job
from app.shared.store.kinds import KINDS, Kind, is_composite
from app.submission.submit import is_retryable
from app.web.charts import Chart
from app.web.described import described
from app.web.job_advice import ADVICE
from app.web.job_curves import curves_of
from app.web.job_graph import Graph, graph_of
from app.web.job_rows import PICTURE, Numbers, numbers_of, seconds_of, state_words, title_of
from app.web.rendering import page
from app.web.request_copies import copies_of
from ddcal_core.specs.results import Resource

router = APIRouter(prefix="/jobs", include_in_schema=False)

DRAWN: tuple[Kind, ...] = ("experts", "train")
MOST_CHARTS = 2
"""Of each of its jobs: the first ones say how it goes, their own pages have the others."""
EVERY_SECONDS = 2
"""A composite job is looked at so often besides: its events tell of its jobs' states alone."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One job of a composite one.

    Attributes:
        job: as lists show it.
        title: what it is in it.
        state: in the word of pages.
        seconds: that it took, or has taken until now.
        made: its results.
    """

    job: JobSummary
    title: str
    state: str
    seconds: float | None
    made: Sequence[Result]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job as one transaction has found it, with all that its page tells of it."""

    job: Job
    family: Family
    body: JobBody
    results: Sequence[Result]
    picture: str | None
    needs: Mapping[str, Sequence[str]]
    charts: Sequence[Chart]
    notes: Sequence[Event]

    def newest(self, resource: Resource) -> Result | None:
        """The last of its results of a kind."""
        return next((one for one in reversed(self.results) if one.resource == resource), None)

    @property
    def numbers(self) -> Numbers | None:
        """Of its newest report."""
        report = self.newest("report")
        return None if report is None else numbers_of(report)

    @property
    def scores(self) -> dict[int, float]:
        """The validation accuracy at the steps at which its set was scored, once it has ended."""
        made = self.newest("distilled_set")
        scored = [] if made is None else made.details.get("validation_accuracies") or []
        return {one["step"]: one["accuracy"] for one in scored}

    @property
    def graph(self) -> Graph | None:
        """Of a pipeline; a study has too many jobs for one."""
        if not is_composite(self.job.kind) or not KINDS[self.job.kind].shows_all_jobs:
            return None
        return graph_of(self.family.shown, self.needs)

    @property
    def parts(self) -> list[Part]:
        """The jobs of a composite one that are shown, in the order of its body."""
        rows = {child.id: child for child in self.family.shown}
        return [self._part(rows[child.id]) for child in self.body.children]

    def _part(self, child: Job) -> Part:
        return Part(
            job=job_summary(child),
            title=child.role or title_of(child),
            state="waiting" if child.state == "blocked" else child.state,
            seconds=seconds_of(child),
            made=[one for one in self.results if one.job_id == child.id],
        )


@router.get("/{job_id}")
def get_job_page(
    request: Request, service: ServiceDep, owner_id: OwnerDep, job_id: str
) -> HTMLResponse:
    """All that there is to know of a job, in the order in which people ask for it."""
    wanted = checked_id("job", job_id)
    return job_page(request, service, owner_id, wanted)


def job_page(
    request: Request,
    service: Service,
    owner_id: str,
    job_id: str,
    *,
    given: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page of a job.

    Args:
        request: that asks for it.
        service: what answers it.
        owner_id: whose job it has to be.
        job_id: of it.
        given: what was typed into the form that changes its description, to be corrected.
        problems: what is wrong with it, by field.
    """
    with service.database.read() as connection:
        seen = _look(connection, owner_id, job_id)
    job, is_over = seen.job, seen.job.is_terminal
    url = str(request.base_url).rstrip("/")
    # Where a form is to be corrected, the page stays as it is.
    is_live = not is_over and not problems
    values = {
        "seen": seen,
        "job": seen.body,
        "title": title_of(job),
        "state": state_words(job, seen.family),
        "seconds": seconds_of(job),
        "share_of_time": _share_of_time(seen),
        "advice": ADVICE.get(str((job.error or {}).get("type")), ""),
        "snapshots": _snapshots(service, seen),
        "log": _log_end(service, seen),
        "copies": copies_of(job, url, needs_key=service.access.key is not None),
        "is_retryable": is_retryable(job) and not _lacks_another(job),
        "is_deletable": is_over and job.parent_id is None and job.kind != "intake",
        "described": given or described(job.name, job.tags, job.notes),
        "problems": problems or {},
        "stream": seen.body.links["events"] if is_live else None,
        "every": EVERY_SECONDS if is_live and is_composite(job.kind) else None,
    }
    status = 422 if problems else 200
    return page(request, service, "job.html", values, status=status)


def _look(connection: Connection, owner_id: str, job_id: str) -> Seen:
    job = find_job(connection, owner_id, job_id)
    family = family_of(connection, job)
    results = results_made(connection, owner_id, [job, *family.shown])
    sets = [one.id for one in results if one.resource == "distilled_set"]
    pictures = [
        file for file in artifacts_of_resources(connection, owner_id, sets) if file.name == PICTURE
    ]
    asked = [job.id] if not family.shown else [child.id for child in family.shown]
    charts, notes = _curves(connection, job, family, results)
    return Seen(
        job=job,
        family=family,
        body=whole_job_body(connection, job, family, results),
        results=results,
        picture=f"/v1/artifacts/{pictures[-1].id}/content" if pictures else None,
        needs=needs_of(connection, owner_id, asked),
        charts=charts,
        notes=notes,
    )


def _curves(
    connection: Connection, job: Job, family: Family, results: Sequence[Result]
) -> tuple[list[Chart], list[Event]]:
    """Of a pipeline those of its distillation, and of what trains just now."""
    watched = [job]
    if is_composite(job.kind):
        watched = [
            one
            for one in family.shown
            if KINDS[job.kind].shows_all_jobs
            and (one.kind == "distill" or (one.kind in DRAWN and one.state == "running"))
        ]
    found = [
        curves_of(connection, one, [made for made in results if made.job_id == one.id])
        for one in watched
    ]
    most = MOST_CHARTS if is_composite(job.kind) else None
    charts = [chart for some, _ in found for chart in some[:most]]
    return charts, [note for _, some in found for note in some]


def _snapshots(service: Service, seen: Seen) -> list[SnapshotBody]:
    maker = maker_of(seen.job, seen.family)
    return [] if maker is None else snapshot_bodies(maker, snapshots_of(service, maker))


def _share_of_time(seen: Seen) -> float | None:
    """How much of a composite job's time is over; its phases begin anew, and say less."""
    progress, seconds = seen.body.progress, seconds_of(seen.job)
    if progress is None or progress.eta_seconds is None or not seen.body.counts:
        return None
    if seconds is None or seconds <= 0:
        return None
    return seconds / (seconds + progress.eta_seconds)


def _log_end(service: Service, seen: Seen) -> LogEnd | None:
    return log_end(service.settings.log_folder, [seen.job, *seen.family.shown])


def _lacks_another(job: Job) -> bool:
    """Has it failed for want of another job, which would have to be retried first?"""
    return str((job.error or {}).get("type")).startswith("dependency_")
