"""/v1/expert-sets, distilled-sets, models, calibrations, reports: what jobs have made."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.http.dependencies import OwnerDep, Service, ServiceDep, checked_id
from app.api.http.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, page_position, page_token
from app.api.http.responses import json_answer, problems
from app.api.schemas.results import ResultBody, ResultPage, result_summary
from app.shared.store.catalog import (
    artifacts_of_resources,
    find_result,
    lineage,
    list_results,
)
from app.shared.store.kinds import RESOURCES
from ddcal_core.specs.fields import JOB_REFERENCE
from ddcal_core.specs.results import Resource

router = APIRouter(prefix="/v1", tags=["results"])


class ResultListQuery(BaseModel):
    """Which results a list shows."""

    model_config = ConfigDict(extra="forbid")

    job_id: str | None = Field(None, pattern=JOB_REFERENCE)
    page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)
    page_token: str | None = Field(None, max_length=200)


@router.get(
    "/expert-sets",
    response_model=ResultPage,
    responses=problems(400, 422),
    summary="List sets of experts",
)
def get_expert_sets(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Sets of experts, newest first."""
    return _page(service, owner_id, "expert_set", query)


@router.get(
    "/distilled-sets",
    response_model=ResultPage,
    responses=problems(400, 422),
    summary="List distilled sets",
)
def get_distilled_sets(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Distilled sets, newest first."""
    return _page(service, owner_id, "distilled_set", query)


@router.get("/models", response_model=ResultPage, responses=problems(400, 422))
def get_models(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Trained networks, newest first."""
    return _page(service, owner_id, "model", query)


@router.get("/calibrations", response_model=ResultPage, responses=problems(400, 422))
def get_calibrations(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Calibrations, newest first."""
    return _page(service, owner_id, "calibration", query)


@router.get("/reports", response_model=ResultPage, responses=problems(400, 422))
def get_reports(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[ResultListQuery, Query()]
) -> Response:
    """Reports, newest first."""
    return _page(service, owner_id, "report", query)


@router.get("/expert-sets/{result_id}", response_model=ResultBody, responses=problems(404))
def get_expert_set(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A set of experts with its file and lineage."""
    return _one(service, owner_id, "expert_set", result_id)


@router.get("/distilled-sets/{result_id}", response_model=ResultBody, responses=problems(404))
def get_distilled_set(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A distilled set with its files and lineage."""
    return _one(service, owner_id, "distilled_set", result_id)


@router.get("/models/{result_id}", response_model=ResultBody, responses=problems(404))
def get_model(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A trained network with its files and lineage."""
    return _one(service, owner_id, "model", result_id)


@router.get("/calibrations/{result_id}", response_model=ResultBody, responses=problems(404))
def get_calibration(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A calibration with its files and lineage."""
    return _one(service, owner_id, "calibration", result_id)


@router.get("/reports/{result_id}", response_model=ResultBody, responses=problems(404))
def get_report(service: ServiceDep, owner_id: OwnerDep, result_id: str) -> Response:
    """A report with its files and lineage."""
    return _one(service, owner_id, "report", result_id)


def _page(service: Service, owner_id: str, resource: Resource, query: ResultListQuery) -> Response:
    filters = {} if query.job_id is None else {"job_id": query.job_id}
    bound = {**filters, "collection": RESOURCES[resource].collection}
    after = page_position(query.page_token, bound)
    with service.database.read() as connection:
        found = list_results(
            connection,
            owner_id,
            resource,
            filters=filters,
            after=after,
            limit=query.page_size + 1,
        )
        shown = found[: query.page_size]
        files = artifacts_of_resources(connection, owner_id, [result.id for result in shown])
    token = page_token(shown[-1].id, bound) if len(found) > len(shown) else None
    items = [result_summary(result, files) for result in shown]
    return json_answer(ResultPage(items=items, next_page_token=token))


def _one(service: Service, owner_id: str, resource: Resource, result_id: str) -> Response:
    prefix = RESOURCES[resource].prefix
    with service.database.read() as connection:
        result = find_result(connection, owner_id, resource, checked_id(prefix, result_id))
        files = artifacts_of_resources(connection, owner_id, [result.id])
        made_from = lineage(connection, owner_id, resource, result.id)
    summary = result_summary(result, files)
    return json_answer(ResultBody(**dict(summary), lineage=made_from))
