"""/compare: choose reports, see what sets them apart, and have them compared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

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
from app.shared.errors import InvalidRequestError
from app.shared.store.catalog import Result, Wanted, list_results, results_of_jobs
from app.shared.store.database import Connection
from app.shared.store.descent import results_of_ids
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import new_id
from app.submission.compared_settings import differing, settings_of
from app.submission.comparisons import MOST_COMPARED, ComparisonRequest, compare
from app.web.rendering import page
from app.web.results import ResultRow, result_row
from ddcal_core.specs.fields import REPORT_REFERENCE

router = APIRouter(prefix="/compare", include_in_schema=False)

PATH = "/compare"
MOST_OFFERED = 50
EVERY_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What sets chosen reports apart.

    Attributes:
        paths: of the settings that differ.
        rows: of each report its values at these paths, in words.
    """

    paths: list[str]
    rows: list[list[str]]


@router.get("")
def get_choice(request: Request, service: ServiceDep, owner_id: OwnerDep) -> HTMLResponse:
    """Reports to choose from; of those chosen (`report`, several times) what sets them apart."""
    asked = list(dict.fromkeys(request.query_params.getlist("report")))
    return _choice(request, service, owner_id, asked=asked, name="")


@router.post("")
async def post_comparison(request: Request) -> Response:
    """Compare, as `POST /v1/comparisons` does, and lead to what comes of it."""
    service, owner_id = await service_of(request), await current_owner(request)
    require_media_type(request, (FORM_TYPE,))
    fields = form_fields(await form_body(request.receive))
    return await run_in_threadpool(_compared, request, service, owner_id, fields)


@router.get("/{job_id}")
def get_comparison(
    request: Request, service: ServiceDep, owner_id: OwnerDep, job_id: str
) -> Response:
    """The comparison that a job has made; until then, that it is being made."""
    with service.database.read() as connection:
        job = find_job(connection, owner_id, checked_id("job", job_id))
        made = results_of_jobs(connection, owner_id, "comparison", [job.id])
    if made:
        return see_other(f"/results/{made[-1].id}")
    if job.is_terminal:
        return see_other(f"/jobs/{job.id}")
    return page(request, service, "comparing.html", {"job": job, "every": EVERY_SECONDS})


def _compared(
    request: Request, service: Service, owner_id: str, fields: Mapping[str, str]
) -> Response:
    asked, name = fields.get("reports", "").split(), fields.get("name", "").strip()
    try:
        wanted = validated(ComparisonRequest, {"reports": asked, "name": name or None})
        with service.database.write() as connection:
            job = compare(
                connection,
                service.settings,
                owner_id,
                wanted,
                job_id=new_id("job"),
                request_id=request.state.request_id,
            )
    except InvalidRequestError as error:
        problems = [one.detail for one in error.problems]
        return _choice(request, service, owner_id, asked=asked, name=name, problems=problems)
    return see_other(f"{PATH}/{job.id}")


def _choice(
    request: Request,
    service: Service,
    owner_id: str,
    *,
    asked: Sequence[str],
    name: str,
    problems: Sequence[str] = (),
) -> HTMLResponse:
    # PostgreSQL refuses a question with a NUL in it.
    ids = [one for one in asked if re.fullmatch(REPORT_REFERENCE, one)][: MOST_COMPARED + 1]
    with service.database.read() as connection:
        offered = list_results(connection, owner_id, "report", wanted=Wanted(), limit=MOST_OFFERED)
        found = {one.id: one for one in results_of_ids(connection, owner_id, "report", ids)}
        chosen = [found[one] for one in asked if one in found]
        apart = _apart(connection, owner_id, chosen)
    values = {
        "asked": asked,
        "name": name,
        "problems": problems,
        "chosen": _rows(chosen),
        "unknown": [one for one in asked if one not in found and not one.startswith("job_")],
        "apart": apart,
        "offered": _rows(offered),
        "most": MOST_COMPARED,
    }
    return page(request, service, "compare.html", values, status=422 if problems else 200)


def _rows(reports: Sequence[Result]) -> list[ResultRow]:
    return [result_row(one, ()) for one in reports]


def _apart(connection: Connection, owner_id: str, reports: Sequence[Result]) -> Apart | None:
    """What sets reports apart; None of fewer than two."""
    if len(reports) < 2:
        return None
    held = differing([settings_of(connection, owner_id, one) for one in reports])
    paths = list(held[0])
    return Apart(paths=paths, rows=[[_words(one[path]) for path in paths] for one in held])


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return "–" if value is None else str(value)
