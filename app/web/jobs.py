"""/jobs: every job, a page at a time, filtered and searched as the API does it."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from app.api.http.dependencies import OwnerDep, ServiceDep
from app.api.http.paging import page_position, page_token
from app.api.jobs import JobListQuery
from app.shared.store.job_queries import list_jobs
from app.shared.store.job_states import JOB_STATES
from app.shared.store.kinds import KINDS
from app.web.addresses import address_with, query_fields
from app.web.job_rows import job_rows
from app.web.rendering import page
from ddcal_core.specs.distillation import METHODS

router = APIRouter(include_in_schema=False)

PATH = "/jobs"
EVERY_SECONDS = 5
N_JOBS = 25
FIELDS = ("q", "state", "kind", "dataset", "method", "tag", "parent", "page_token")


@router.get(PATH)
def get_jobs(request: Request, service: ServiceDep, owner_id: OwnerDep) -> HTMLResponse:
    """Jobs that are in no pipeline, newest first; `parent` shows those of one."""
    fields = query_fields(request, FIELDS)
    asked, wrong = fields, ""
    try:
        query = JobListQuery.model_validate({"parent": "none", **_lists(fields)})
    except ValidationError as error:
        query, asked = JobListQuery(parent="none"), {}
        wrong = ", ".join(sorted({str(one["loc"][0]) for one in error.errors()}))
    after = page_position(query.page_token, query.asked())
    with service.database.read() as connection:
        found = list_jobs(
            connection,
            owner_id,
            filters=query.filters(),
            search=query.search(),
            after=None if after is None else after[0],
            limit=N_JOBS + 1,
        )
        shown = found[:N_JOBS]
        rows = job_rows(connection, owner_id, shown)
    more = None
    if len(found) > N_JOBS:
        token = page_token(shown[-1].id, query.asked())
        more = address_with(PATH, asked, page_token=token)
    values = {
        "rows": rows,
        "asked": fields,
        "wrong": wrong,
        "more": more,
        "states": JOB_STATES,
        "kinds": tuple(KINDS),
        "methods": METHODS,
        "every": None if query.page_token else EVERY_SECONDS,
    }
    return page(request, service, "jobs.html", values)


def _lists(fields: dict[str, str]) -> dict[str, object]:
    """A search as the API reads it: tags are several, separated by spaces in a form's field."""
    return {**fields, "tag": fields["tag"].split()} if "tag" in fields else dict(fields)
