"""/results: what jobs have made, a kind and a page at a time, searched as the API does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from app.api.http.dependencies import OwnerDep, ServiceDep
from app.api.result_queries import QUERIES, ResultListQuery, found_results
from app.shared.store.catalog import Artifact, Result, artifacts_of_resources
from app.web.addresses import address_with, query_fields
from app.web.job_rows import PICTURE
from app.web.rendering import page
from app.web.result_words import KIND_WORDS, setting_of, title_of, what_it_is
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.results import Resource

router = APIRouter(include_in_schema=False)

PATH = "/results"
N_RESULTS = 25
FIRST: Resource = "report"
_FILTERS = (
    "q", "dataset", "method", "images_per_class", "status", "tag", "min_accuracy", "max_ece",
    "job_id", "sort",
)  # fmt: skip
_OF_EVERY_KIND = ("q", "dataset", "tag")
"""What is still asked for when another kind is looked at."""
NUMBERS_ARE: Mapping[Resource, str] = {
    "report": "Of each report the highest accuracy and the lowest error of its rows.",
    "distilled_set": "Accuracy on validation images, by which the set was chosen.",
    "model": "By the newest report, before calibration.",
    "calibration": "By the newest report.",
}


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One result of a list.

    Attributes:
        result: with its columns.
        title: what to call it.
        about: what it is, where the title is its name, else what it says; and its setting.
        picture: the path of a distilled set's picture.
    """

    result: Result
    title: str
    about: str
    picture: str | None


def result_row(result: Result, files: Sequence[Artifact]) -> ResultRow:
    """A result as lists show it, with those of some files that are its own."""
    title, what = title_of(result), what_it_is(result)
    picture = next(
        (one for one in files if one.resource_id == result.id and one.name == PICTURE), None
    )
    said = str(result.details.get("headline") or "") if title == what else what
    return ResultRow(
        result=result,
        title=title,
        about=" · ".join(filter(None, (said, setting_of(result)))),
        picture=None if picture is None else f"/v1/artifacts/{picture.id}/content",
    )


@router.get(PATH)
def get_results(request: Request, service: ServiceDep, owner_id: OwnerDep) -> HTMLResponse:
    """Results of one kind, newest first or by a number."""
    fields = query_fields(request, ("kind", *_FILTERS, "page_token"))
    asked_kind = fields.pop("kind", FIRST)
    kind = next((one for one in KIND_WORDS if one == asked_kind), FIRST)
    query, wrong = _read(QUERIES[kind], fields)
    with service.database.read() as connection:
        shown, token = found_results(connection, owner_id, kind, query, limit=N_RESULTS)
        files = artifacts_of_resources(connection, owner_id, [one.id for one in shown])
    asked = {} if wrong else {name: one for name, one in fields.items() if name != "page_token"}
    values = {
        "kind": kind,
        "kinds": _tabs(kind, fields),
        "kind_words": KIND_WORDS[kind].lower(),
        "rows": [result_row(one, files) for one in shown],
        "asked": fields,
        "is_searched": bool(fields),
        "filters": set(QUERIES[kind].model_fields),
        "methods": METHODS,
        "numbers_are": NUMBERS_ARE.get(kind),
        "wrong": wrong,
        "more": token and address_with(PATH, {"kind": kind, **asked}, page_token=token),
    }
    return page(request, service, "results.html", values)


def _tabs(kind: Resource, fields: Mapping[str, str]) -> list[dict[str, object]]:
    kept = {name: fields[name] for name in _OF_EVERY_KIND if name in fields}
    return [
        {"words": words, "to": address_with(PATH, kept, kind=one), "is_shown": one == kind}
        for one, words in KIND_WORDS.items()
    ]


def _read(model: type[ResultListQuery], fields: Mapping[str, str]) -> tuple[ResultListQuery, str]:
    """A search as the API reads it, and what of it makes no sense; then all are shown.

    A form's numbers are in percent.
    """
    given: dict[str, object] = dict(fields)
    if "tag" in fields:
        given["tag"] = fields["tag"].split()
    for name in ("min_accuracy", "max_ece"):
        if name in fields:
            given[name] = _fraction(fields[name])
    try:
        return model.model_validate(given), ""
    except ValidationError as error:
        names = sorted({str(one["loc"][0]).replace("_", " ") for one in error.errors()})
        return model(), ", ".join(names)


def _fraction(text: str) -> float | str:
    """What a number of percent is as a fraction; other text as it is, to be refused."""
    try:
        return float(text.removesuffix("%")) / 100
    except ValueError:
        return text
