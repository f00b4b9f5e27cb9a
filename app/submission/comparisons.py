"""Comparisons: what is asked, checked against what there is, and the job that compares it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from app.shared.engine.jobs import insert_job
from app.shared.errors import NotFoundError
from app.shared.settings import Settings
from app.shared.store.catalog import Result, find_result, results_of_jobs
from app.shared.store.database import Connection
from app.shared.store.job_queries import children_of, find_job
from app.shared.store.job_records import Job, NewJob
from app.shared.store.kinds import COMPARE, KINDS, NO_QUEUE, is_composite
from app.submission.compared_settings import differing, settings_of
from app.submission.description_fields import Name, Notes, Tags
from app.submission.references import CheckContext
from ddcal_core.specs.decision_rules import DecisionRule
from ddcal_core.specs.fields import REPORT_REFERENCE, Spec
from ddcal_core.specs.kinds.compare import ComparedReport, CompareParams
from ddcal_core.specs.kinds.compare import Settings as Compared

MOST_COMPARED = 50


class ComparisonRequest(Spec):
    """Put results side by side."""

    reports: list[Annotated[str, Field(pattern=REPORT_REFERENCE)]] = Field(
        min_length=1,
        max_length=MOST_COMPARED,
        description="Reports, or jobs for all the reports that they and their children have made: "
        f"2 to {MOST_COMPARED} finished reports in all, in the order in which they are shown.",
    )
    base: Compared | None = Field(
        None,
        description="Settings of what the others are compared with: path in a pipeline's params -> "
        "value. What it leaves out, and by default all, is what the first report has.",
    )
    rules: list[DecisionRule] = Field(
        [], max_length=50, description="Statements to decide. Default: none."
    )
    name: Name | None = Field(None, description="What you call it; its job is called so, too.")
    tags: Tags | None = Field(None, description="Key -> value, to find it by.")
    notes: Notes | None = Field(None, description="Anything worth remembering.")


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A report that a reference stands for, by the place of that."""

    pointer: str
    report: Result


def compare(
    connection: Connection,
    settings: Settings,
    owner_id: str,
    request: ComparisonRequest,
    *,
    job_id: str,
    request_id: str | None = None,
) -> Job:
    """Check a comparison and write its job.

    What sets the results apart is found here: the params of each one's pipeline, or of the jobs
    that have led to it, as far as they differ.

    Args:
        connection: a write transaction; what is raised has to roll it back.
        settings: of the service.
        owner_id: whose results they have to be.
        request: what was asked.
        job_id: that the job is to have.
        request_id: of the HTTP request that asked.

    Raises:
        InvalidRequestError: a reference stands for nothing that can be compared; one problem each.
    """
    context = CheckContext(connection=connection, owner_id=owner_id, settings=settings)
    found = [
        one
        for place, reference in enumerate(request.reports)
        for one in _found(context, place, reference)
    ]
    _check_together(context, found)
    held = [settings_of(connection, owner_id, one.report) for one in found]
    apart = differing(held)
    _check_base(context, request, apart)
    context.close()
    reports = [
        ComparedReport(report=one.report.id, settings=own)
        for one, own in zip(found, apart, strict=True)
    ]
    params = CompareParams(reports=reports, base=request.base, rules=request.rules)
    datasets = {one.report.columns["dataset"] for one in found}
    new = NewJob(
        id=job_id,
        kind=COMPARE,
        params=params.model_dump(mode="json"),
        dataset=datasets.pop() if len(datasets) == 1 else None,
        queue=KINDS[COMPARE].queue or NO_QUEUE,
        timeout_seconds=math.ceil(settings.intake_timeout_seconds),
        max_attempts=settings.max_attempts,
        request_id=request_id,
        name=request.name,
        tags=request.tags or None,
        notes=request.notes,
        needs=tuple(dict.fromkeys(one.report.job_id for one in found)),
    )
    return insert_job(connection, owner_id, new)


def _found(context: CheckContext, place: int, reference: str) -> Iterator[_Found]:
    pointer = f"/reports/{place}"
    try:
        if not reference.startswith("job_"):
            report = find_result(context.connection, context.owner_id, "report", reference)
            yield _Found(pointer=pointer, report=report)
            return
        job = find_job(context.connection, context.owner_id, reference)
    except NotFoundError:
        detail = (
            "wanted a report of yours, or a job that has made one (evaluate, pipeline, study); "
            f"there is no {reference}"
        )
        context.refuse(pointer, "unknown_reference", detail)
        return
    ids = [one.id for one in _family(context, job)]
    reports = results_of_jobs(context.connection, context.owner_id, "report", ids)
    yield from (_Found(pointer=pointer, report=report) for report in reports)
    if reports:
        return
    if job.is_terminal:
        detail = (
            f"wanted a job that has made a report; {job.kind} {job.id} is {job.state}, with none"
        )
        context.refuse(pointer, "no_report", detail)
    else:
        detail = f"wanted a finished job; {job.kind} {job.id} is {job.state}: wait for its report"
        context.refuse(pointer, "not_finished", detail)


def _family(context: CheckContext, job: Job) -> Iterator[Job]:
    """A job with its children and theirs."""
    yield job
    if is_composite(job.kind):
        for child in children_of(context.connection, context.owner_id, job.id):
            yield from _family(context, child)


def _check_together(context: CheckContext, found: Sequence[_Found]) -> None:
    seen: dict[str, str] = {}
    for one in found:
        if one.report.id in seen:
            detail = f"wanted each report once; {one.report.id} is that of {seen[one.report.id]}"
            context.refuse(one.pointer, "duplicate_reference", detail)
        seen.setdefault(one.report.id, one.pointer)
    # A reference that stands for nothing is told by itself.
    if not context.problems and not 2 <= len(found) <= MOST_COMPARED:
        reports = "1 report" if len(found) == 1 else f"{len(found)} reports"
        detail = f"wanted 2 to {MOST_COMPARED} finished reports; got {reports}"
        context.refuse("/reports", "wrong_number_of_reports", detail)


def _check_base(
    context: CheckContext, request: ComparisonRequest, apart: Sequence[Compared]
) -> None:
    """Refuse a base that no result has: everything would be compared with something else."""
    paths = {path for one in apart for path in one}
    for path, value in (request.base or {}).items():
        pointer = f"/base/{path.replace('~', '~0').replace('/', '~1')}"
        if path not in paths:
            told = ", ".join(sorted(paths)) or "none"
            detail = f"wanted a setting that differs between these results ({told}); got {path}"
            context.refuse(pointer, "unknown_setting", detail)
        elif value not in [one.get(path) for one in apart]:
            values = ", ".join(dict.fromkeys(repr(one.get(path)) for one in apart))
            detail = f"wanted a value that one of these results has ({values}); got {value!r}"
            context.refuse(pointer, "unknown_value", detail)
