"""/new: a form for a pipeline, and any request as JSON; what would come of it, then the job."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.submission.requests import JOB_REQUESTS
from app.submission.submit import request_of
from app.web.drafts import (
    Draft,
    answered,
    as_json,
    checked,
    dataset_choices,
    given_form,
    submitted,
)
from app.web.form_groups import asked_fields, further_groups
from app.web.rendering import page
from app.web.request_copies import said
from app.web.request_forms import (
    DATASET,
    document_of,
    form_of,
    form_problems,
    pipeline_fields,
    problems_by_field,
    unchanged_form,
)

router = APIRouter(prefix="/new", include_in_schema=False)

EXAMPLE: Mapping[str, Any] = {"kind": "pipeline", "params": {"dataset": "digits"}}
"""A first job: every default, on images that come with the service."""


@router.get("")
def get_new(request: Request, service: ServiceDep, owner_id: OwnerDep) -> Response:
    """The form: with a data set chosen by `dataset`, or filled from the job that `from` names."""
    query = request.query_params
    if query.get("from"):
        with service.database.read() as connection:
            job = find_job(connection, owner_id, checked_id("job", query["from"]))
        return _answer(request, service, owner_id, _of_job(job))
    given = unchanged_form(query.get("dataset") or EXAMPLE["params"]["dataset"])
    draft = Draft(given=given, sent=as_json(document_of(given)))
    return _answer(request, service, owner_id, draft)


@router.post("")
async def post_new(request: Request) -> Response:
    """Check what the form asks for, or submit it and lead to its job."""
    service, owner_id, given = await given_form(request)
    form = {DATASET: [""], **given}
    sent = as_json(document_of(given))
    draft = Draft(given=form, sent=sent, problems=form_problems(given))
    return await answered(request, service, owner_id, draft, _answer)


@router.post("/json")
async def post_json(request: Request) -> Response:
    """The same for a request of any kind, as JSON."""
    service, owner_id, given = await given_form(request)
    text = given.get("json", [""])[0].replace("\r\n", "\n").strip()
    draft = Draft(given={**unchanged_form(""), **given}, sent=text, is_text=True)
    return await answered(request, service, owner_id, draft, _answer)


@router.post("/example")
def post_example(request: Request, service: ServiceDep, owner_id: OwnerDep) -> Response:
    """Submit the first example, and lead to it."""
    return submitted(request, service, owner_id, dict(EXAMPLE))


def _answer(request: Request, service: Service, owner_id: str, draft: Draft) -> Response:
    draft = checked(draft, service, owner_id)
    by_field, others = problems_by_field(() if draft.is_text else draft.problems)
    fields = pipeline_fields()
    values = {
        "draft": draft,
        "datasets": dataset_choices(service, owner_id, draft.given[DATASET][0]),
        "asked": asked_fields(fields),
        "groups": further_groups(fields),
        "wrong": by_field,
        "others": draft.problems if draft.is_text else others,
    }
    is_asked = request.method == "POST" and bool(draft.problems)
    return page(request, service, "new.html", values, status=422 if is_asked else 200)


def _of_job(job: Job) -> Draft:
    """What an earlier job was asked for: in the form, or as JSON where no form can say it."""
    form, name = unchanged_form(job.dataset or ""), job.name or job.id
    if job.kind not in JOB_REQUESTS:
        note = f"{name} was not submitted: it serves another job, and cannot be asked for."
        return Draft(given=form, sent=as_json(document_of(form)), note=note)
    document = said(request_of(job))
    filled = form_of(document) if job.kind == "pipeline" else None
    if filled is not None:
        note = f"Filled from {name}: change what you like."
        return Draft(given=filled, sent=as_json(document_of(filled)), note=note)
    note = f"The request of {name} is in the field for JSON: no form can say it all."
    return Draft(given=form, sent=as_json(document), is_text=True, note=note)
