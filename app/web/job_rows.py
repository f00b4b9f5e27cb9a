"""Jobs as lists of pages show them: what came of each, in the numbers people look for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.api.job_views import job_summary
from app.api.schemas.jobs import JobSummary
from app.shared.store.catalog import Result, artifacts_of_resources, results_of_jobs
from app.shared.store.database import Connection
from app.shared.store.job_queries import NO_FAMILY, Family, families_of, shown_state
from app.shared.store.job_records import Job
from ddcal_core.specs.results import Resource

FIGURES: tuple[Resource, ...] = ("comparison", "report", "distilled_set")
"""What is shown of a job, if it has made it: its address, numbers or picture."""
PICTURE = "preview.png"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a report says of networks, in short; fractions.

    Attributes:
        accuracy: of its best row, those on the full data left out.
        ece: the lowest of these rows.
        ece_before: of the same networks before calibration; None where no row has it.
    """

    accuracy: float | None
    ece: float | None
    ece_before: float | None


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job of a list.

    Attributes:
        job: as the API lists it.
        state: in the word of pages.
        title: what to call it, unlike others on its data set where their settings differ.
        seconds: from its start to its end, or until now; None before it.
        made: the newest of each kind of result that it, or its jobs, have made.
        numbers: of its report.
        picture: the path of a picture of its distilled set.
    """

    job: JobSummary
    state: str
    title: str
    seconds: float | None
    made: Mapping[Resource, Result]
    numbers: Numbers | None
    picture: str | None


def job_rows(connection: Connection, owner_id: str, jobs: Sequence[Job]) -> list[JobRow]:
    """Some jobs, in their order; composite ones with what their jobs have made."""
    families = families_of(connection, owner_id, jobs)
    made = _made(connection, owner_id, jobs, families)
    sets = [found["distilled_set"].id for found in made.values() if "distilled_set" in found]
    pictures = {
        file.resource_id: f"/v1/artifacts/{file.id}/content"
        for file in artifacts_of_resources(connection, owner_id, sets)
        if file.name == PICTURE
    }
    return [_row(job, families.get(job.id, NO_FAMILY), made[job.id], pictures) for job in jobs]


def title_of(job: Job) -> str:
    """Its name; else what it is in its pipeline, the named study it is, or its method."""
    named = job.params.get("named")
    if job.name or job.role or named:
        return str(job.name or job.role or named)
    return f"{job.kind} by {job.method.upper()}" if job.method else job.kind


def state_words(job: Job, family: Family) -> str:
    """A job's state; a pipeline waits for its jobs all the while they work."""
    state = shown_state(job)
    if state == "blocked":
        return "running" if family.counts.get("running") else "waiting"
    return state


def seconds_of(job: Job) -> float | None:
    """Seconds from a job's start to its end, or until now; None before it."""
    if job.started_at is None:
        return None
    return ((job.ended_at or datetime.now(UTC)) - job.started_at).total_seconds()


def numbers_of(report: Result) -> Numbers:
    """The numbers of a report that lists show."""
    ece = report.columns["ece"]
    return Numbers(
        accuracy=report.columns["accuracy"], ece=ece, ece_before=_before(report.details, ece)
    )


def _made(
    connection: Connection, owner_id: str, jobs: Sequence[Job], families: Mapping[str, Family]
) -> dict[str, dict[Resource, Result]]:
    """The newest result of each kind, by job."""
    top_of = {job.id: job.id for job in jobs}
    top_of |= {child.id: top for top, family in families.items() for child in family.shown}
    newest: dict[str, dict[Resource, Result]] = {job.id: {} for job in jobs}
    for resource in FIGURES:
        for result in results_of_jobs(connection, owner_id, resource, list(top_of)):
            newest[top_of[result.job_id]][resource] = result
    return newest


def _row(
    job: Job, family: Family, made: Mapping[Resource, Result], pictures: Mapping[str, str]
) -> JobRow:
    return JobRow(
        job=job_summary(job, family),
        state=state_words(job, family),
        title=title_of(job),
        seconds=seconds_of(job),
        made=made,
        numbers=numbers_of(made["report"]) if "report" in made else None,
        picture=pictures.get(made["distilled_set"].id) if "distilled_set" in made else None,
    )


def _before(details: Mapping[str, Any], ece: float | None) -> float | None:
    """What the row of the lowest ECE was before its calibration."""
    for row in details.get("rows", ()):
        measured, before = _mean(row.get("ece")), (row.get("before") or {}).get("ece")
        if ece is not None and measured == ece and before is not None:
            return _mean(before)
    return None


def _mean(value: Any) -> float | None:  # noqa: ANN401 - a summary, or one network's number
    found = value.get("mean") if isinstance(value, Mapping) else value
    return None if found is None else float(found)
