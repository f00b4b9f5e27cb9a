"""A request that somebody is writing: the JSON it stands for, what would come of it, its job."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.api.http.access import see_other
from app.api.http.dependencies import Service, current_owner, service_of
from app.api.http.forms import FORM_TYPE, form_body, form_lists
from app.api.http.request_bodies import read_ambiguous, read_json, require_media_type
from app.api.job_submission import every_problem, read_job_request
from app.api.schemas.studies import PlanBody, plan_body
from app.shared.errors import FieldProblem, InvalidRequestError, MalformedRequestError
from app.shared.inputs.datasets import list_datasets
from app.shared.store.database import Connection
from app.shared.store.job_records import new_id
from app.submission.plan import plan_of
from app.submission.submit import submit
from app.web.jobs import PATH as JOBS_PATH
from app.web.request_forms import Given

SUBMIT = "submit"
"""What the button `do` says where not only a look is asked for."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A request that somebody is writing.

    Attributes:
        given: what the form has.
        sent: the JSON that is sent; "" where nothing has been asked for yet.
        is_text: whether that was written as JSON.
        plan: what would come of it; None where it would be refused as a whole.
        problems: why it, or some cells of it, would be; before it is looked at, what is wrong with
            the form alone.
        is_anew: whether nothing is taken over from what has been done before.
        note: what to know of the form before it is looked at.
    """

    given: Given
    sent: str = ""
    is_text: bool = False
    plan: PlanBody | None = None
    problems: Sequence[FieldProblem] = ()
    is_anew: bool = False
    note: str = ""


Show = Callable[[Request, Service, str, Draft], Response]
"""Makes the page of a draft."""


def as_json(document: Mapping[str, Any]) -> str:
    """A request as pages show and send it: of ASCII alone, so that no mark turns text around."""
    return json.dumps(document, indent=1)


async def given_form(request: Request) -> tuple[Service, str, Given]:
    """A posted form, with the service and whose it is."""
    require_media_type(request, (FORM_TYPE,))
    given = form_lists(await form_body(request.receive))
    return await service_of(request), await current_owner(request), given


async def answered(
    request: Request, service: Service, owner_id: str, draft: Draft, show: Show
) -> Response:
    """The way to a draft's job, if it was to be submitted and could be; else what `show` makes."""

    def answer() -> Response:
        if draft.given.get("do", [""])[0] == SUBMIT and not draft.problems:
            with suppress(InvalidRequestError, MalformedRequestError):
                return submitted(request, service, owner_id, read_json(draft.sent.encode()))
        return show(request, service, owner_id, draft)

    return await run_in_threadpool(answer)


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
    """A draft with what would come of it, and what is wrong with it, each problem once."""
    with service.database.read() as connection:
        looked_at = _looked_at(connection, service, owner_id, draft)
    once = {(one.pointer, one.detail): one for one in (*draft.problems, *looked_at.problems)}
    return replace(looked_at, problems=tuple(once.values()))


def dataset_choices(service: Service, owner_id: str, chosen: str) -> list[tuple[str, str]]:
    """The names of data sets with what to know of each: own ones first, then what comes along.

    Named ones whose files are not here are last; one that there is not is there if it is chosen.
    """
    with service.database.read() as connection:
        found = list_datasets(connection, owner_id, service.settings)
    found.sort(key=lambda one: (one.state == "unavailable", one.source == "named"))
    told = [(one.name, "" if one.state == "ready" else str(one.state)) for one in found]
    if chosen and chosen not in dict(told):
        told.append((chosen, "there is none of this name"))
    return told


def _looked_at(connection: Connection, service: Service, owner_id: str, draft: Draft) -> Draft:
    try:
        document, problems = read_ambiguous(draft.sent.encode())
    except MalformedRequestError as error:
        return replace(draft, problems=[FieldProblem("", error.code, str(error))])
    try:
        asked = read_job_request(document)
    except InvalidRequestError as error:
        found = [*problems, *error.problems]
        told = every_problem(connection, service, owner_id, document, found)
        return replace(draft, problems=told)
    if problems:
        return replace(draft, problems=problems)
    try:
        plan = plan_body(plan_of(connection, service.settings, owner_id, asked))
    except InvalidRequestError as error:
        return replace(draft, problems=error.problems)
    refused = [one for cell in plan.refused for one in cell.errors]
    found = [FieldProblem(one.pointer, one.code, one.detail) for one in refused]
    return replace(draft, plan=plan, problems=found, is_anew=not asked.reuse)
