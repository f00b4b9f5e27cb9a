"""Results in other formats: each is made once, by a job of its own, which keeps the file.

The file's row names the result, and its job needs the job that made the result: while it runs that
one cannot be deleted, and afterwards it is deleted with it.
"""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from app.shared.engine.deletion import delete_rows
from app.shared.engine.jobs import insert_job
from app.shared.engine.locks import locked_job
from app.shared.settings import Settings
from app.shared.store.catalog import Artifact, Result, artifacts_of_job
from app.shared.store.evidence import declared_of, reports_on
from app.shared.store.job_records import JOB_COLUMNS, Job, NewJob, job_of
from app.shared.store.kinds import EXPORT, INTAKE_QUEUE
from app.shared.store.tables import job_deps, jobs
from ddcal_core.specs.exports import ExportFormat
from ddcal_core.specs.formats.format_facts import FormatFacts

GIVEN_UP = ("cancelled", "expired")
"""How an export may have ended that says nothing of the next one."""


def export_params(
    connection: Connection, owner_id: str, result: Result, word: ExportFormat, facts: FormatFacts
) -> dict[str, Any]:
    """What decides an export: its job's params."""
    return {
        "resource": result.resource,
        "result": result.id,
        "format": word,
        "reports": reports_on(connection, owner_id, result) if facts.has_card else [],
        "declared": declared_of(connection, owner_id, result) if facts.has_card else {},
    }


def find_export(
    connection: Connection, owner_id: str, result: Result, params: dict[str, Any]
) -> Job | None:
    """The job that makes or has made an export, or has failed to; None where it is to be made."""
    return _standing(_exports_of(connection, owner_id, result, params["format"]), params)


def find_or_ask_for_export(
    connection: Connection,
    owner_id: str,
    result: Result,
    params: dict[str, Any],
    *,
    settings: Settings,
    request_id: str | None = None,
    damaged: str | None = None,
) -> tuple[Job, list[str]]:
    """The job of an export, a new one where there is none: of requests at once, the first's.

    Args:
        connection: a write transaction.
        owner_id: whose result it is.
        result: to be exported.
        params: see `export_params`.
        settings: of the service.
        request_id: of the request that asks.
        damaged: the job whose file is damaged, and is to be made again.

    Returns:
        The job, and the ids of jobs that it replaces, whose files can go after the commit.

    Raises:
        NotFoundError: the result has been deleted meanwhile.
    """
    # Whoever asks for the same at once waits here, and then finds the job.
    locked_job(connection, owner_id, result.job_id)
    alike = _exports_of(connection, owner_id, result, params["format"])
    standing = _standing(alike, params)
    if standing is not None and standing.id != damaged:
        return standing, []
    past = [job.id for job in alike if job.is_terminal]
    delete_rows(connection, past)
    new = NewJob(
        kind=EXPORT,
        params=params,
        dataset=result.columns.get("dataset"),
        queue=INTAKE_QUEUE,
        timeout_seconds=math.ceil(settings.intake_timeout_seconds),
        max_attempts=settings.max_attempts,
        request_id=request_id,
        needs=(result.job_id,),
    )
    return insert_job(connection, owner_id, new), past


def exported_file(connection: Connection, owner_id: str, export: Job) -> Artifact | None:
    """The file of an export that has succeeded; None while there is none."""
    return next(iter(artifacts_of_job(connection, owner_id, export.id)), None)


def _exports_of(connection: Connection, owner_id: str, result: Result, word: str) -> Sequence[Job]:
    """Newest first."""
    statement = (
        select(*JOB_COLUMNS)
        .join(job_deps, job_deps.c.job_id == jobs.c.id)
        .where(
            job_deps.c.needs_job_id == result.job_id,
            jobs.c.owner_id == owner_id,
            jobs.c.kind == EXPORT,
        )
        .order_by(jobs.c.id.desc())
    )
    found = map(job_of, connection.execute(statement))
    return [
        job for job in found if (job.params["result"], job.params["format"]) == (result.id, word)
    ]


def _standing(exports: Sequence[Job], params: dict[str, Any]) -> Job | None:
    return next(
        (job for job in exports if job.params == params and job.state not in GIVEN_UP), None
    )
