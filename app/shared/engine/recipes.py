"""Jobs of the same recipe: whose results can stand for a run's own, whose checkpoint it may take.

A recipe is a digest of all that decides a job's results, and the ids that its inputs have, in the
order in which they occur. Inputs go into the digest by content: two jobs of one recipe have read
the same bytes, under ids that may differ place by place (see worker.supervisor.recipes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from app.shared.store.catalog import (
    Artifact,
    Result,
    artifacts_of_job,
    results_of_jobs,
)
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from app.shared.store.tables import jobs

MOST_TRIED = 10


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides a run's results.

    Attributes:
        digest: sha256, hexadecimal.
        ids: of the inputs, each once, in the order in which they occur.
    """

    digest: str
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job that has succeeded, with all it has made.

    Attributes:
        ids: of its inputs, as in Recipe.
        results: first made first, kind by kind.
        files: of these results.
    """

    job_id: str
    ids: tuple[str, ...]
    results: tuple[Result, ...]
    files: tuple[Artifact, ...]


def finished_alike(connection: Connection, run: Job, recipe: Recipe) -> Sequence[str]:
    """Ids of succeeded jobs of the run's owner, kind and recipe, newest first.

    Those that have computed come before those that have taken their results over.
    """
    statement = select(jobs.c.id).where(
        jobs.c.owner_id == run.owner_id,
        jobs.c.recipe == recipe.digest,
        jobs.c.kind == run.kind,
        jobs.c.state == "succeeded",
    )
    newest_first = statement.order_by(jobs.c.reused_from.is_not(None), jobs.c.id.desc())
    return connection.execute(newest_first.limit(MOST_TRIED)).scalars().all()


def find_finished(connection: Connection, run: Job, recipe: Recipe, job_id: str) -> Finished | None:
    """All that one of them has made; None where it is gone or has no results."""
    statement = select(jobs.c.recipe_ids).where(jobs.c.id == job_id)
    ids = connection.execute(statement).scalar_one_or_none()
    results = _results_of(connection, run.owner_id, job_id)
    if not results or len(ids or ()) != len(recipe.ids):
        return None
    files = artifacts_of_job(connection, run.owner_id, job_id)
    return Finished(job_id=job_id, ids=tuple(ids or ()), results=tuple(results), files=tuple(files))


def hold(connection: Connection, recipe: Recipe) -> None:
    """Let one transaction at a time ask who computes a recipe, and say that its run does.

    On SQLite there is one that writes at a time anyhow.
    """
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(bytes.fromhex(recipe.digest)[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def running_alike(connection: Connection, run: Job, recipe: Recipe) -> str | None:
    """The id of an older job of the run's owner, kind and recipe that somebody else is running.

    Of older ones alone: no two wait for each other, nor do those who end them, see locks.
    """
    statement = select(jobs.c.id).where(
        jobs.c.owner_id == run.owner_id,
        jobs.c.recipe == recipe.digest,
        jobs.c.kind == run.kind,
        jobs.c.state == "running",
        jobs.c.id < run.id,
    )
    return connection.execute(statement.limit(1)).scalar_one_or_none()


def failed_alike(connection: Connection, run: Job, recipe: Recipe) -> Sequence[str]:
    """Ids of failed jobs of the run's owner and recipe, newest first: one may have got far."""
    statement = select(jobs.c.id).where(
        jobs.c.owner_id == run.owner_id,
        jobs.c.recipe == recipe.digest,
        jobs.c.state == "failed",
        jobs.c.id != run.id,
    )
    return (
        connection.execute(statement.order_by(jobs.c.id.desc()).limit(MOST_TRIED)).scalars().all()
    )


def _results_of(connection: Connection, owner_id: str, job_id: str) -> list[Result]:
    return [
        result
        for resource in RESOURCES
        for result in results_of_jobs(connection, owner_id, resource, [job_id])
    ]
