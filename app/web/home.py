"""/: what runs, what came out, how to start."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.api.http.dependencies import OwnerDep, ServiceDep
from app.shared.store.job_queries import list_jobs
from app.shared.store.kinds import KINDS
from app.web.job_rows import JobRow, job_rows
from app.web.rendering import page

router = APIRouter(include_in_schema=False)

PATH = "/"
N_JOBS = 30
"""The latest jobs, among which those at work and those that made something are shown."""
EVERY_SECONDS = 5


@router.get(PATH)
def get_home(request: Request, service: ServiceDep, owner_id: OwnerDep) -> HTMLResponse:
    """The latest jobs: those at work with their progress, those that ended with what they made."""
    with service.database.read() as connection:
        jobs = list_jobs(connection, owner_id, filters={"parent_id": ""}, limit=N_JOBS)
        rows = job_rows(connection, owner_id, jobs)
    values = {
        "at_work": [row for row in rows if row.job.ended_at is None],
        "ended": [row for row in rows if row.job.ended_at is not None and _is_worth_a_look(row)],
        "every": EVERY_SECONDS,
    }
    return page(request, service, "home.html", values)


def _is_worth_a_look(row: JobRow) -> bool:
    """Checks of uploads and exports are told of where they went wrong alone."""
    return KINDS[row.job.kind].is_submitted or bool(row.made) or row.job.error is not None
