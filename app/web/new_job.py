"""/new: a form for a pipeline, and any request as JSON; what would come of it, then the job."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from app.api.http.forms import FORM_TYPE, form_body, form_lists
from app.api.http.request_bodies import read_ambiguous, read_json, require_media_type
from app.api.job_submission import every_problem, read_job_request
from app.api.schemas.studies import PlanBody, plan_body
from app.shared.errors import (
    FieldProblem,
    InvalidRequestError,
    MalformedRequestError,
)
from app.shared.inputs.datasets import Dataset, list_datasets
from app.shared.store.database import Connection
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job, new_id
from app.submission.plan import plan_of
from app.submission.requests import JOB_REQUESTS
from app.submission.submit import request_of, submit
from app.web.form_groups import asked_fields, further_groups
from app.web.jobs import PATH as JOBS_PATH
from app.web.rendering import page
from app.web.request_copies import said
from app.web.request_forms import (
    Given,
    document_of,
    form_of,
    pipeline_fields,
    problems_by_field,
    ticked_by_default,
)

router = APIRouter(prefix="/new", include_in_schema=False)

EXAMPLE: Mapping[str, Any] = {"kind": "pipeline", "params": {"dataset": "digits"}}
"""A first job: every default, on images that come with the service."""
DATASET = "params.dataset"
SUBMIT, CHECK = "submit", "check"
INDENT = 1


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A request that somebody is writing.

    Attributes:
        given: what the form has.
        text: what the field for JSON has; "" where the form is used.
        sent: the JSON that is sent.
        plan: what would come of it; None where it would be refused.
        problems: why it would be.
        note: what to know of the form before it is looked at.
    """

    given: Given
    text: str = ""
    sent: str = ""
    plan: PlanBody | None = None
    problems: Sequence[FieldProblem] = ()
    note: str = ""


@router.get("")
def get_new(request: Request, service: ServiceDep, owner_id: OwnerDep) -> Response:
    """The form: with a data set chosen by `dataset`, or filled from the job that `from` names."""
    query = request.query_params
    if query.get("from"):
        with service.database.read() as connection:
            job = find_job(connection, owner_id, checked_id("job", query["from"]))
        return _answer(request, service, owner_id, _of_job(job))
    given = {**ticked_by_default(), DATASET: [query.get("dataset", "digits")]}
    return _answer(request, service, owner_id, Draft(given=given))


@router.post("")
async def post_new(request: Request) -> Response:
    """Check what the form asks for, or submit it and lead to its job."""
    service, owner_id = await service_of(request), await current_owner(request)
    require_media_type(request, (FORM_TYPE,))
    given = form_lists(await form_body(request.receive))
    draft = Draft(given=given)
    return await run_in_threadpool(_done, request, service, owner_id, draft)


@router.post("/json")
async def post_json(request: Request) -> Response:
    """The same for a request of any kind, as JSON."""
    service, owner_id = await service_of(request), await current_owner(request)
    require_media_type(request, (FORM_TYPE,))
    given = form_lists(await form_body(request.receive))
    draft = Draft(given=given, text=given.get("json", [""])[0].strip() or "{}")
    return await run_in_threadpool(_done, request, service, owner_id, draft)


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


def checked(draft: Draft, service: Service, owner_id: str) -> Draft:
    """A draft with the JSON that it stands for, and what would come of it."""
    sent = draft.text or json.dumps(document_of(draft.given), indent=INDENT)
    with service.database.read() as connection:
        plan, problems = _looked_at(connection, service, owner_id, sent)
    return replace(draft, sent=sent, plan=plan, problems=tuple(problems))


def _looked_at(
    connection: Connection, service: Service, owner_id: str, sent: str
) -> tuple[PlanBody | None, list[FieldProblem]]:
    """What would come of a request, and what is wrong with it."""
    try:
        document, problems = read_ambiguous(sent.encode())
    except MalformedRequestError as error:
        return None, [FieldProblem("", error.code, str(error))]
    try:
        asked = read_job_request(document)
    except InvalidRequestError as error:
        found = [*problems, *error.problems]
        return None, every_problem(connection, service, owner_id, document, found)
    if problems:
        return None, problems
    try:
        plan = plan_body(plan_of(connection, service.settings, owner_id, asked))
    except InvalidRequestError as error:
        return None, list(error.problems)
    refused = [one for cell in plan.refused for one in cell.errors]
    return plan, [FieldProblem(one.pointer, one.code, one.detail) for one in refused]


def _done(request: Request, service: Service, owner_id: str, draft: Draft) -> Response:
    if draft.given.get("do", [CHECK])[0] != SUBMIT:
        return _answer(request, service, owner_id, draft)
    document = draft.text or json.dumps(document_of(draft.given))
    try:
        return submitted(request, service, owner_id, read_json(document.encode()))
    except (InvalidRequestError, MalformedRequestError):
        return _answer(request, service, owner_id, draft)


def _answer(request: Request, service: Service, owner_id: str, draft: Draft) -> Response:
    draft = checked(draft, service, owner_id)
    with service.database.read() as connection:
        datasets = list_datasets(connection, owner_id, service.settings)
    by_field, others = problems_by_field(() if draft.text else draft.problems)
    fields = pipeline_fields()
    values = {
        "draft": draft,
        "datasets": _choices(datasets, draft.given.get(DATASET, [""])[0]),
        "asked": asked_fields(fields),
        "groups": further_groups(fields),
        "wrong": by_field,
        "others": draft.problems if draft.text else others,
    }
    is_asked = request.method == "POST" and bool(draft.problems)
    return page(request, service, "new.html", values, status=422 if is_asked else 200)


def _choices(datasets: Sequence[Dataset], chosen: str) -> list[tuple[str, str]]:
    """The names of data sets with what to know of each; one that there is not, if it is chosen."""
    told: list[tuple[str, str]] = [
        (one.name, "" if one.state == "ready" else one.state) for one in datasets
    ]
    if chosen and chosen not in dict(told):
        told.append((chosen, "there is none of this name"))
    return told


def _of_job(job: Job) -> Draft:
    """What an earlier job was asked for: in the form, or as JSON where no form can say it."""
    if job.kind not in JOB_REQUESTS:
        note = f"{job.id} was not submitted: it serves another job, and cannot be asked for."
        return Draft(given={**ticked_by_default(), DATASET: [job.dataset or ""]}, note=note)
    document = said(request_of(job))
    filled = form_of(document) if job.kind == "pipeline" else None
    if filled is not None:
        return Draft(given=filled, note=f"Filled from {job.name or job.id}: change what you like.")
    text = json.dumps(document, indent=INDENT)
    note = f"The request of {job.name or job.id} is in the field for JSON: no form can say it all."
    return Draft(given={**ticked_by_default(), DATASET: [job.dataset or ""]}, text=text, note=note)
