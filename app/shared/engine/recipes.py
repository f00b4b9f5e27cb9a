"""Jobs of the same recipe: whose results can stand for a run's own, whose checkpoint it may take.

A recipe is a digest of all that decides a job's results, and the ids that its inputs have, in the
order in which they occur. Inputs go into the digest by content: two jobs of one recipe have read
the same bytes, under ids that may differ place by place (see worker.supervisor.recipes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from app.shared.store.catalog import (
    Artifact,
    Result,
    artifacts_of_job,
    results_of_jobs,
)
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from app.shared.store.tables import jobs


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


def find_finished(connection: Connection, run: Job, recipe: Recipe) -> Finished | None:
    """A job of the run's owner, kind and recipe that has succeeded and whose results are there.

    One that has computed comes before those that have taken its results over.
    """
    alike = select(jobs.c.id, jobs.c.recipe_ids).where(
        jobs.c.owner_id == run.owner_id,
        jobs.c.recipe == recipe.digest,
        jobs.c.kind == run.kind,
        jobs.c.state == "succeeded",
    )
    newest_first = alike.order_by(jobs.c.reused_from.is_not(None), jobs.c.id.desc())
    for row in connection.execute(newest_first.limit(1)):
        results = _results_of(connection, run.owner_id, row.id)
        files = artifacts_of_job(connection, run.owner_id, row.id)
        if results and len(row.recipe_ids or ()) == len(recipe.ids):
            return Finished(
                job_id=row.id,
                ids=tuple(row.recipe_ids),
                results=tuple(results),
                files=tuple(files),
            )
    return None


def failed_alike(connection: Connection, run: Job, recipe: Recipe) -> Sequence[str]:
    """Ids of failed jobs of the run's owner and recipe, newest first: one may have got far."""
    statement = select(jobs.c.id).where(
        jobs.c.owner_id == run.owner_id,
        jobs.c.recipe == recipe.digest,
        jobs.c.state == "failed",
        jobs.c.id != run.id,
    )
    return connection.execute(statement.order_by(jobs.c.id.desc()).limit(10)).scalars().all()


def _results_of(connection: Connection, owner_id: str, job_id: str) -> list[Result]:
    return [
        result
        for resource in RESOURCES
        for result in results_of_jobs(connection, owner_id, resource, [job_id])
    ]
