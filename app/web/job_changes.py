"""The forms of a job's page: cancel, retry, delete, and change what it is called."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.api.http.access import see_other
from app.api.http.dependencies import (
    OwnerDep,
    Service,
    ServiceDep,
    checked_id,
    current_owner,
    service_of,
)
from app.api.http.forms import FORM_TYPE, form_body, form_fields
from app.api.http.request_bodies import require_media_type, validated
from app.shared.engine import deletion
from app.shared.errors import InvalidRequestError
from app.shared.store.job_queries import describe_one, find_job
from app.shared.store.job_records import new_id
from app.submission.description_fields import NewDescription
from app.submission.submit import cancel, retry
from app.web.described import Described, change_of, field_problems, given_description
from app.web.job import job_page
from app.web.jobs import PATH

router = APIRouter(prefix=PATH, include_in_schema=False)


@router.post("/{job_id}/cancel")
def post_cancel(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Ask it to stop; a composite one with all its jobs."""
    job = cancel(service.database, service.settings, owner_id, checked_id("job", job_id))
    return see_other(f"{PATH}/{job.id}")


@router.post("/{job_id}/retry")
def post_retry(request: Request, service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Submit it once more, and lead to the new job."""
    wanted, named = checked_id("job", job_id), {"request_id": request.state.request_id}
    with service.database.write() as connection:
        job = retry(connection, service.settings, owner_id, wanted, job_id=new_id("job"), **named)
    return see_other(f"{PATH}/{job.id}")


@router.post("/{job_id}/delete")
def post_delete(service: ServiceDep, owner_id: OwnerDep, job_id: str) -> Response:
    """Delete it with all that it has made."""
    with service.database.write() as connection:
        deleted = deletion.delete_job(connection, owner_id, checked_id("job", job_id))
    # After the commit: rows without files would be results that cannot be read.
    for one in deleted:
        deletion.delete_files(service.settings, one)
    return see_other(PATH)


@router.post("/{job_id}")
async def post_description(request: Request) -> Response:
    """Change its name, tags and notes; the form again, with what is wrong beside each field."""
    service, owner_id = await service_of(request), await current_owner(request)
    wanted = checked_id("job", request.path_params["job_id"])
    require_media_type(request, (FORM_TYPE,))
    given = given_description(form_fields(await form_body(request.receive)))
    return await run_in_threadpool(_described, request, service, (owner_id, wanted), given)


def _described(
    request: Request, service: Service, whose: tuple[str, str], given: Described
) -> Response:
    owner_id, job_id = whose
    try:
        with service.database.write() as connection:
            known = find_job(connection, owner_id, job_id).tags
            change = validated(NewDescription, change_of(given, known))
            describe_one(connection, owner_id, job_id, change.model_dump(exclude_unset=True))
    except InvalidRequestError as error:
        problems = field_problems(error)
        return job_page(request, service, owner_id, job_id, given=given, problems=problems)
    return see_other(f"{PATH}/{job_id}")
