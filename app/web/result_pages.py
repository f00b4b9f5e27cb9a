"""/results/ID: a result for people: what it is, what it was made from, and how to use it."""

from collections.abc import Mapping
from urllib.parse import quote

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
from app.api.schemas.results import format_bodies, result_url
from app.shared.errors import InvalidRequestError, NotFoundError
from app.shared.store.catalog import (
    Artifact,
    Result,
    artifacts_of_resources,
    describe_result,
    find_result,
    lineage,
)
from app.shared.store.database import Connection
from app.shared.store.descent import MOST_SHOWN, made_from, results_of_ids
from app.shared.store.kinds import RESOURCES
from app.submission.description_fields import NewDescription
from app.web.described import (
    Described,
    change_of,
    described,
    field_problems,
    given_description,
)
from app.web.rendering import page
from app.web.result_words import KIND_WORDS, factor_words, facts_of, title_of, what_it_is
from app.web.results import PATH, ResultRow, result_row
from app.web.spectra import spectrum_of
from app.web.words import marked
from ddcal_core.specs.results import Resource

router = APIRouter(prefix=PATH, include_in_schema=False)

Link = dict[str, str]
PAGES: Mapping[Resource, str] = {"report": "report.html", "comparison": "comparison.html"}
"""The file that is a result's own page."""
_UPLOADS = {"datasets": "Data sets", "logits": "Logits"}
_RESOURCE_OF: Mapping[str, Resource] = {
    facts.collection.replace("-", "_"): word for word, facts in RESOURCES.items()
}


@router.get("/{result_id}")
def get_result_page(
    request: Request, service: ServiceDep, owner_id: OwnerDep, result_id: str
) -> HTMLResponse:
    """A result with its lineage, both ways, and the formats it can be had in."""
    return _page(request, service, owner_id, result_id)


@router.post("/{result_id}")
async def post_description(request: Request) -> Response:
    """Change its name, tags and notes; the form again, with what is wrong beside each field."""
    service, owner_id = await service_of(request), await current_owner(request)
    require_media_type(request, (FORM_TYPE,))
    given = given_description(form_fields(await form_body(request.receive)))
    result_id = request.path_params["result_id"]
    return await run_in_threadpool(_described, request, service, (owner_id, result_id), given)


def found_result(connection: Connection, owner_id: str, result_id: str) -> Result:
    """The result of an id, whatever it is.

    Raises:
        NotFoundError: there is none.
    """
    prefix = result_id.partition("_")[0]
    resource = next((word for word, facts in RESOURCES.items() if facts.prefix == prefix), None)
    if resource is None:
        raise NotFoundError("not_found", "there is no result at this address")
    return find_result(connection, owner_id, resource, checked_id(prefix, result_id))


def _described(
    request: Request, service: Service, whose: tuple[str, str], given: Described
) -> Response:
    owner_id, result_id = whose
    try:
        with service.database.write() as connection:
            result = found_result(connection, owner_id, result_id)
            change = validated(NewDescription, change_of(given, result.columns["tags"]))
            asked = change.model_dump(exclude_unset=True)
            describe_result(connection, owner_id, result.resource, result.id, asked)
    except InvalidRequestError as error:
        problems = field_problems(error)
        return _page(request, service, owner_id, result_id, given=given, problems=problems)
    return see_other(f"{PATH}/{result_id}")


def _page(
    request: Request,
    service: Service,
    owner_id: str,
    result_id: str,
    *,
    given: Described | None = None,
    problems: Mapping[str, str] | None = None,
) -> HTMLResponse:
    with service.database.read() as connection:
        result = found_result(connection, owner_id, result_id)
        files = artifacts_of_resources(connection, owner_id, [result.id])
        made_of = lineage(connection, owner_id, result.resource, result.id)
        above = _above(connection, owner_id, made_of)
        below = made_from(connection, owner_id, result)
        pictures = _sets_of(connection, owner_id, result)
    columns = result.columns
    values = {
        "result": result,
        "row": result_row(result, files),
        "what": what_it_is(result),
        "kind_words": KIND_WORDS[result.resource],
        "facts": facts_of(result),
        "above": above,
        "below": {KIND_WORDS[kind]: [_link(one) for one in them] for kind, them in below.items()},
        "files": files,
        "shown_page": _address(files, PAGES.get(result.resource)),
        "formats": [(one, marked(one.description)) for one in format_bodies(result, files)],
        "api": result_url(result),
        "described": given or described(columns["name"], columns["tags"], columns["notes"]),
        "problems": problems or {},
        "sets": pictures,
        "factor": factor_words(result.details) if result.resource == "distilled_set" else None,
        "spectrum": spectrum_of(service, owner_id, result, below.get("report", ())),
    }
    return page(request, service, "result.html", values, status=422 if problems else 200)


def _sets_of(connection: Connection, owner_id: str, result: Result) -> list[ResultRow]:
    """The distilled sets behind the reports of a comparison, to be seen side by side."""
    if result.resource != "comparison":
        return []
    found: dict[str, Result] = {}
    for report_id in result.details.get("report_ids", ()):
        try:
            sets = lineage(connection, owner_id, "report", report_id).get("distilled_sets", ())
            found |= {
                one: find_result(connection, owner_id, "distilled_set", one)
                for one in sets
                if one not in found
            }
        except NotFoundError:  # deleted since
            continue
    files = artifacts_of_resources(connection, owner_id, list(found))
    return [result_row(one, files) for one in found.values()]


def _above(
    connection: Connection, owner_id: str, made_of: Mapping[str, list[str]]
) -> dict[str, list[Link]]:
    """What a result was made from, by kind: links to uploads and to results."""
    shown: dict[str, list[Link]] = {}
    for kind, names in made_of.items():
        if kind in _RESOURCE_OF:
            resource = _RESOURCE_OF[kind]
            found = results_of_ids(connection, owner_id, resource, names[:MOST_SHOWN])
            shown[KIND_WORDS[resource]] = [_link(one) for one in found]
        else:
            to = "/datasets/" if kind == "datasets" else "/logits/"
            links = [
                {"to": to + quote(name, safe=""), "words": name, "about": ""}
                for name in names
                if name
            ]
            shown[_UPLOADS.get(kind, kind)] = links
    return {words: links for words, links in shown.items() if links}


def _link(result: Result) -> Link:
    title, what = title_of(result), what_it_is(result)
    return {
        "to": f"{PATH}/{result.id}",
        "words": title,
        "about": "" if title == what else what,
    }


def _address(files: list[Artifact], name: str | None) -> str | None:
    found = next((one.id for one in files if one.name == name), None)
    return found and f"/v1/artifacts/{found}/content"
