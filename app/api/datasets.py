"""/v1/datasets: the named ones and the uploads."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.api.answers import json_answer, problems
from app.api.dependencies import OwnerDep, Service, ServiceDep
from app.api.intakes import checked_name, remove_upload, take_upload, upload_body, why_not
from app.api.schemas import DatasetBody, DatasetList, FactsBody, UploadProblem
from app.shared.database import Connection
from app.shared.datasets import IMAGES, Dataset, find_dataset, list_datasets
from app.shared.errors import ConflictError
from ddcal_core.npz_structure import inspect_npz
from ddcal_core.specs import DatasetFacts, DatasetName

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

UPLOAD_BODY = upload_body(
    "A .npz with x_train, y_train, x_test, y_test (images uint8, (N, H, W) or (N, H, W, C); labels "
    "integers from 0) and optionally class_names."
)


@router.get("", response_model=DatasetList, summary="List data sets")
def get_datasets(service: ServiceDep, owner_id: OwnerDep) -> Response:
    """The named data sets with what is available of them, then the uploads."""
    with service.database.read() as connection:
        found = list_datasets(connection, owner_id, service.settings)
        items = [_body(connection, owner_id, dataset) for dataset in found]
    return json_answer(DatasetList(items=items))


@router.get(
    "/{name}", response_model=DatasetBody, responses=problems(404), summary="Look at a data set"
)
def get_dataset(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """One data set; an upload goes from `checking` to `ready` or `rejected`."""
    return json_answer(_shown(service, owner_id, checked_name(name, "dataset_not_found")))


@router.post(
    "",
    status_code=202,
    response_model=DatasetBody,
    responses=problems(400, 409, 413, 415, 422),
    openapi_extra=UPLOAD_BODY,
    summary="Upload a data set",
)
async def upload_dataset(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    name: Annotated[DatasetName, Query()],
) -> Response:
    """Upload a .npz as the raw body: its structure is checked at once, its content by a job."""
    headers = await take_upload(
        request, service, owner_id, name, content=IMAGES, inspect=inspect_npz
    )
    body = await run_in_threadpool(_shown, service, owner_id, name)
    headers["Location"] = f"/v1/datasets/{name}"
    return json_answer(body, status=202, headers=headers)


@router.delete("/{name}", status_code=204, responses=problems(404, 409), summary="Delete an upload")
def remove_dataset(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """Delete an upload and its files; what was made from it stays."""
    with service.database.read() as connection:
        known = checked_name(name, "dataset_not_found")
        dataset = find_dataset(connection, owner_id, known, service.settings)
    if dataset.source == "named":
        raise ConflictError("dataset_named", f"data set {name!r} comes with the service")
    remove_upload(service, owner_id, dataset, IMAGES)
    return Response(status_code=204)


def _shown(service: Service, owner_id: str, name: str) -> DatasetBody:
    with service.database.read() as connection:
        dataset = find_dataset(connection, owner_id, name, service.settings)
        return _body(connection, owner_id, dataset)


def _body(connection: Connection, owner_id: str, dataset: Dataset) -> DatasetBody:
    reason = why_not(connection, owner_id, dataset)
    links = {"self": f"/v1/datasets/{dataset.name}"}
    if dataset.job_id is not None:
        links["job"] = f"/v1/jobs/{dataset.job_id}"
    return DatasetBody(
        name=dataset.name,
        source=dataset.source,
        state=dataset.state,
        available=reason is None,
        why_not=reason,
        facts=None if dataset.facts is None else _facts(dataset.facts),
        problem=None if dataset.problem is None else UploadProblem(**dataset.problem),
        n_bytes=dataset.n_bytes,
        sha256=dataset.sha256,
        job_id=dataset.job_id,
        created_at=dataset.created_at,
        links=links,
    )


def _facts(facts: DatasetFacts) -> FactsBody:
    return FactsBody(
        **facts.model_dump(mode="json"),
        n_classes=facts.n_classes,
        n_train=sum(facts.train_class_counts),
        n_test=sum(facts.test_class_counts),
    )
