"""/v1/expert-sets, distilled-sets, models, calibrations, reports, comparisons: what jobs made."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.api.http.dependencies import (
    OwnerDep,
    Service,
    ServiceDep,
    checked_id,
    current_owner,
    service_of,
)
from app.api.http.responses import json_answer, problems
from app.api.http.searching import asked_change, change_body, written
from app.api.result_queries import (
    CalibratedListQuery,
    CalibrationListQuery,
    ResultListQuery,
    SetListQuery,
    found_results,
)
from app.api.schemas.result_kinds import BODIES, PAGES
from app.api.schemas.results import ResultBody, ResultPage, format_bodies, result_summary
from app.shared.store.catalog import (
    artifacts_of_resources,
    describe_result,
    find_result,
    lineage,
)
from app.shared.store.database import Connection
from app.shared.store.kinds import RESOURCES
from app.submission.description_fields import NewDescription
from ddcal_core.specs.results import Resource

router = APIRouter(prefix="/v1", tags=["results"])

RESULT_ID: dict[str, Any] = {
    "name": "result_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "title": "Result Id"},
}
CHANGE: dict[str, Any] = {
    "responses": problems(400, 404, 413, 415, 422),
    "openapi_extra": {"parameters": [RESULT_ID], **change_body(NewDescription)},
}


@router.get(
    "/expert-sets",
    response_model=PAGES["expert_set"],
    responses=problems(400, 422),
    summary="List sets of experts",
)
def list_expert_sets(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Sets of experts, newest first."""
    return _page(service, owner_id, "expert_set", query)


@router.get(
    "/distilled-sets",
    response_model=PAGES["distilled_set"],
    responses=problems(400, 422),
    summary="List distilled sets",
)
def list_distilled_sets(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[SetListQuery, Query()]
) -> Response:
    """Distilled sets, newest first."""
    return _page(service, owner_id, "distilled_set", query)


@router.get(
    "/models",
    response_model=PAGES["model"],
    responses=problems(400, 422),
    summary="List models",
)
def list_models(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[CalibratedListQuery, Query()]
) -> Response:
    """Trained networks, newest first."""
    return _page(service, owner_id, "model", query)


@router.get(
    "/calibrations",
    response_model=PAGES["calibration"],
    responses=problems(400, 422),
    summary="List calibrations",
)
def list_calibrations(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[CalibrationListQuery, Query()]
) -> Response:
    """Calibrations, newest first."""
    return _page(service, owner_id, "calibration", query)


@router.get(
    "/reports",
    response_model=PAGES["report"],
    responses=problems(400, 422),
    summary="List reports",
)
def list_reports(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[CalibratedListQuery, Query()]
) -> Response:
    """Reports, newest first."""
    return _page(service, owner_id, "report", query)


@router.get(
    "/comparisons",
    response_model=PAGES["comparison"],
    responses=problems(400, 422),
    summary="List comparisons",
)
def list_comparisons(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Comparisons, newest first."""
    return _page(service, owner_id, "comparison", query)


@router.get(
    "/expert-sets/{result_id}",
    response_model=BODIES["expert_set"],
    responses=problems(404),
    summary="Look at a set of experts",
)
def get_expert_set(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A set of experts with its file and lineage."""
    return _one(service, owner_id, "expert_set", result_id)


@router.get(
    "/distilled-sets/{result_id}",
    response_model=BODIES["distilled_set"],
    responses=problems(404),
    summary="Look at a distilled set",
)
def get_distilled_set(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A distilled set with its files and lineage."""
    return _one(service, owner_id, "distilled_set", result_id)


@router.get(
    "/models/{result_id}",
    response_model=BODIES["model"],
    responses=problems(404),
    summary="Look at a model",
)
def get_model(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A trained network with its files and lineage."""
    return _one(service, owner_id, "model", result_id)


@router.get(
    "/calibrations/{result_id}",
    response_model=BODIES["calibration"],
    responses=problems(404),
    summary="Look at a calibration",
)
def get_calibration(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A calibration with its files and lineage."""
    return _one(service, owner_id, "calibration", result_id)


@router.get(
    "/reports/{result_id}",
    response_model=BODIES["report"],
    responses=problems(404),
    summary="Look at a report",
)
def get_report(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A report with its files and lineage."""
    return _one(service, owner_id, "report", result_id)


@router.get(
    "/comparisons/{result_id}",
    response_model=BODIES["comparison"],
    responses=problems(404),
    summary="Look at a comparison",
)
def get_comparison(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A comparison with its files and lineage."""
    return _one(service, owner_id, "comparison", result_id)


@router.patch(
    "/expert-sets/{result_id}",
    response_model=BODIES["expert_set"],
    **CHANGE,
    summary="Change the name, tags or notes of a set of experts",
)
async def update_expert_set(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await _change(request, "expert_set")


@router.patch(
    "/distilled-sets/{result_id}",
    response_model=BODIES["distilled_set"],
    **CHANGE,
    summary="Change the name, tags or notes of a distilled set",
)
async def update_distilled_set(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await _change(request, "distilled_set")


@router.patch(
    "/models/{result_id}",
    response_model=BODIES["model"],
    **CHANGE,
    summary="Change the name, tags or notes of a model",
)
async def update_model(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await _change(request, "model")


@router.patch(
    "/calibrations/{result_id}",
    response_model=BODIES["calibration"],
    **CHANGE,
    summary="Change the name, tags or notes of a calibration",
)
async def update_calibration(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await _change(request, "calibration")


@router.patch(
    "/reports/{result_id}",
    response_model=BODIES["report"],
    **CHANGE,
    summary="Change the name, tags or notes of a report",
)
async def update_report(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await _change(request, "report")


@router.patch(
    "/comparisons/{result_id}",
    response_model=BODIES["comparison"],
    **CHANGE,
    summary="Change the name, tags or notes of a comparison",
)
async def update_comparison(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await _change(request, "comparison")


def _page(service: Service, owner_id: str, resource: Resource, query: ResultListQuery) -> Response:
    with service.database.read() as connection:
        shown, token = found_results(connection, owner_id, resource, query, limit=query.page_size)
        files = artifacts_of_resources(connection, owner_id, [result.id for result in shown])
    items = [result_summary(result, files) for result in shown]
    return json_answer(ResultPage(items=items, next_page_token=token))


def _one(service: Service, owner_id: str, resource: Resource, result_id: str) -> Response:
    wanted = checked_id(RESOURCES[resource].prefix, result_id)
    with service.database.read() as connection:
        return _shown(connection, owner_id, resource, wanted)


def _shown(connection: Connection, owner_id: str, resource: Resource, result_id: str) -> Response:
    result = find_result(connection, owner_id, resource, result_id)
    files = artifacts_of_resources(connection, owner_id, [result.id])
    made_from = lineage(connection, owner_id, resource, result.id)
    summary = dict(result_summary(result, files))
    body = ResultBody(
        **summary,
        notes=result.columns["notes"],
        lineage=made_from,
        formats=format_bodies(result, files),
    )
    return json_answer(body)


async def _change(request: Request, resource: Resource) -> Response:
    wanted = checked_id(RESOURCES[resource].prefix, request.path_params["result_id"])
    service, owner_id = await service_of(request), await current_owner(request)
    given = await asked_change(request, NewDescription)

    def change(connection: Connection) -> Response:
        describe_result(connection, owner_id, resource, wanted, given)
        return _shown(connection, owner_id, resource, wanted)

    return await written(service, change)
