"""/new: what asks for a job."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.http.access import see_other
from app.api.http.dependencies import OwnerDep, Service, ServiceDep
from app.api.job_submission import read_job_request
from app.shared.store.job_records import new_id
from app.submission.submit import submit
from app.web.jobs import PATH as JOBS_PATH

router = APIRouter(prefix="/new", include_in_schema=False)

EXAMPLE: Mapping[str, Any] = {"kind": "pipeline", "params": {"dataset": "digits"}}
"""A first job: every default, on images that come with the service."""


@router.post("/example")
def post_example(request: Request, service: ServiceDep, owner_id: OwnerDep) -> Response:
    """Submit the first example, and lead to it."""
    return submitted(request, service, owner_id, dict(EXAMPLE))


def submitted(request: Request, service: Service, owner_id: str, document: object) -> Response:
    """Submit what is asked for, and lead to its job.

    Raises:
        InvalidRequestError: it cannot be carried out; nothing has been written.
    """
    asked, job_id = read_job_request(document), new_id("job")
    named = {"job_id": job_id, "request_id": request.state.request_id}
    with service.database.write() as connection:
        submit(connection, service.settings, owner_id, asked, **named)
    return see_other(f"{JOBS_PATH}/{job_id}")
