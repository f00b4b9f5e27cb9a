"""How a job is shown: its progress, its links, its children, its results."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.api.schemas.jobs import (
    ChildBody,
    ErrorBody,
    JobBody,
    JobSummary,
    ProgressBody,
    attempt_body,
    result_link,
)
from app.shared.engine.versions import JobVersion
from app.shared.store.catalog import Result, results_of_jobs
from app.shared.store.database import Connection
from app.shared.store.estimates import seconds_left
from app.shared.store.job_queries import (
    NO_FAMILY,
    Attempt,
    Family,
    attempts_of,
    families_of,
    first_waiting,
    place_in_queue,
    shown_state,
)
from app.shared.store.job_records import Job
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.kinds import IMPORTS, INTAKE, KINDS, MAKERS, is_composite

_PLACES = {kind: place for place, kind in enumerate(KINDS)}


def job_summary(job: Job, family: Family = NO_FAMILY) -> JobSummary:
    """A job as lists show it; of a pipeline at work with its children, for its progress."""
    progress = family_progress(family) if family.counts else progress_body(job)
    return JobSummary.model_validate(_summary(job) | {"progress": progress})


def job_body(
    job: Job,
    *,
    attempts: Sequence[Attempt] = (),
    family: Family = NO_FAMILY,
    results: Sequence[Result] = (),
    place: int | None = None,
    eta_seconds: float | None = None,
) -> JobBody:
    """A job with all that is known of it; `place` in the queue, `eta_seconds` of a pipeline."""
    progress = family_progress(family, eta_seconds) if family.counts else progress_body(job)
    return JobBody.model_validate(
        _summary(job)
        | {
            "progress": progress,
            "place_in_queue": place,
            "params": job.params,
            "attempts": [attempt_body(attempt) for attempt in attempts],
            "children": [_child(child) for child in sorted(family.shown, key=_place)],
            "counts": family.counts,
            "results": [result_link(result) for result in results],
        }
    )


def family_of(connection: Connection, job: Job) -> Family:
    """The jobs of a pipeline or study; none of any other job, without asking the database."""
    return families_of(connection, job.owner_id, [job]).get(job.id, NO_FAMILY)


def whole_job_body(
    connection: Connection,
    job: Job,
    family: Family = NO_FAMILY,
    results: Sequence[Result] | None = None,
) -> JobBody:
    """A job and its children, as read, with the attempts and results that belong to them.

    Args:
        connection: a read transaction.
        job: as read.
        family: its jobs, of a composite one.
        results: of it and these, where they are known already.
    """
    if results is None:
        results = results_made(connection, job.owner_id, [job, *family.shown])
    return job_body(
        job,
        # The fence counts claims: a job that none has claimed has no attempt to look for.
        attempts=attempts_of(connection, job.owner_id, job.id) if job.fence else [],
        family=family,
        results=results,
        place=waiting_place(connection, job),
        eta_seconds=seconds_left(connection, job, family),
    )


def waiting_place(connection: Connection, job: Job | JobVersion) -> int | None:
    """A job's place in the queue, asked for only where it can have one."""
    if job.state == "queued":
        return place_in_queue(connection, job.id)
    if job.is_terminal or not is_composite(job.kind):
        return None
    first = first_waiting(connection, job.id)
    return None if first is None else place_in_queue(connection, first)


def progress_body(job: Job) -> ProgressBody | None:
    """Where a job is; None before its first report."""
    if not job.progress:
        return None
    step, steps = int(job.progress.get("step", 0)), int(job.progress.get("steps", 0))
    return ProgressBody(
        phase=str(job.progress.get("phase", "")),
        step=step,
        steps=steps,
        fraction=min(max(step / steps, 0.0), 1.0) if steps > 0 else 0.0,
        eta_seconds=None if job.is_terminal else job.progress.get("eta_seconds"),
        values=job.progress.get("values", {}),
    )


def version_of(job: Job, family: Family = NO_FAMILY) -> JobVersion:
    """The version of a job that has been read, of a pipeline with its children."""
    below = sum(child.version for child in family.shown)
    return JobVersion(id=job.id, kind=job.kind, state=job.state, version=job.version, below=below)


def job_etag(seen: JobVersion, place: int | None) -> str:
    """A strong ETag that changes with the job, its children, and its place in the queue."""
    return f'"{seen.id[-6:]}-{seen.version}-{seen.below}-{place or 0}"'


def retry_after(job: Job | JobVersion) -> dict[str, str]:
    """The header that says when it is worth looking again; none once a job has ended."""
    if job.is_terminal:
        return {}
    return {"Retry-After": "2" if job.state == "running" or is_composite(job.kind) else "1"}


def results_made(connection: Connection, owner_id: str, makers: Sequence[Job]) -> list[Result]:
    """What some jobs have made; asked only for what their kinds can make."""
    found: list[Result] = []
    for resource, maker in MAKERS.items():
        # A calibration of uploaded logits writes its own report; an upload may become results.
        others = {"report": ("calibrate",), **dict.fromkeys(IMPORTS.values(), (INTAKE,))}
        kinds = (maker, *others.get(resource, ()))
        ids = [job.id for job in makers if job.kind in kinds and job.state == "succeeded"]
        if ids:
            found += results_of_jobs(connection, owner_id, resource, ids)
    return found


def _summary(job: Job) -> dict[str, Any]:
    return {
        **vars(job),
        "state": shown_state(job),
        "tags": job.tags or {},
        "progress": progress_body(job),
        "error": _error(job),
        "links": _links(job),
    }


def _error(job: Job) -> ErrorBody | None:
    if not job.error:
        return None
    return ErrorBody(
        type=str(job.error.get("type", "internal")), message=str(job.error.get("message", ""))
    )


def _links(job: Job) -> dict[str, str]:
    url = f"/v1/jobs/{job.id}"
    links = {
        "self": url,
        "events": f"{url}/events",
        "log": f"{url}/log",
        "artifacts": f"{url}/artifacts",
    }
    facts = KINDS[job.kind]
    if facts.keeps_snapshots or (is_composite(job.kind) and facts.shows_all_jobs):
        links["snapshots"] = f"{url}/snapshots"
    if not job.is_terminal:
        links["cancel"] = f"{url}/cancel"
    elif job.state != "succeeded":
        links["retry"] = f"{url}/retry"
    if is_composite(job.kind):
        links["children"] = f"/v1/jobs?parent={job.id}"
    if job.parent_id is not None:
        links["parent"] = f"/v1/jobs/{job.parent_id}"
    return links


def _child(child: Job) -> ChildBody:
    return ChildBody(
        id=child.id,
        role=child.role,
        kind=child.kind,
        state=child.state,
        reused_from=child.reused_from,
        progress=progress_body(child),
        url=f"/v1/jobs/{child.id}",
    )


def _place(child: Job) -> tuple[int, datetime, str]:
    return (_PLACES.get(child.kind, len(KINDS)), child.created_at, child.role or "")


def family_progress(family: Family, eta_seconds: float | None = None) -> ProgressBody:
    """Ended jobs count whole, running ones by the share of their phase."""
    n_jobs = sum(family.counts.values())
    n_ended = sum(family.counts.get(state, 0) for state in TERMINAL_STATES)
    shares = [_share(child) for child in family.shown if not child.is_terminal]
    running = [child for child in sorted(family.shown, key=_place) if child.state == "running"]
    phase = running[0].role or "" if running else "waiting"
    return ProgressBody(
        phase="ended" if n_ended == n_jobs else phase,
        step=n_ended,
        steps=n_jobs,
        fraction=(n_ended + sum(shares)) / n_jobs,
        eta_seconds=eta_seconds,
        values={},
    )


def _share(child: Job) -> float:
    progress = progress_body(child)
    return 0.0 if progress is None else progress.fraction
