"""/v1/datasets: the named ones and the uploads."""

import math
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.api.answers import json_answer, problems
from app.api.bodies import require_declared_length, require_media_type
from app.api.dependencies import OwnerDep, Service, ServiceDep
from app.api.job_shapes import retry_after_seconds
from app.api.schemas import DatasetBody, DatasetList, DatasetProblem, FactsBody
from app.api.uploads import Upload, receive_upload
from app.shared.catalog import find_job
from app.shared.database import Connection
from app.shared.datasets import (
    Dataset,
    NewDataset,
    delete_dataset,
    find_dataset,
    insert_dataset,
    list_datasets,
)
from app.shared.errors import ConflictError, NotFoundError
from app.shared.job_records import INTAKE, Job, NewJob
from app.shared.jobs import insert_job
from app.shared.queue import INTAKE_QUEUE
from ddcal_core.npz_structure import inspect_npz
from ddcal_core.specs import DatasetFacts, DatasetName

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

UPLOAD_TYPES = ("application/octet-stream", "application/zip")
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "description": "A .npz with x_train, y_train, x_test, y_test (images uint8, (N, H, W) or "
        "(N, H, W, C); labels integers from 0) and optionally class_names.",
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}} for name in UPLOAD_TYPES
        },
    }
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


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
    with service.database.read() as connection:
        dataset = find_dataset(connection, owner_id, _checked_name(name), service.settings)
        body = _body(connection, owner_id, dataset)
    return json_answer(body)


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
    limit = service.settings.max_upload_bytes
    require_media_type(request, UPLOAD_TYPES)
    require_declared_length(request, limit)
    await run_in_threadpool(_require_free_name, service, owner_id, name)
    upload = await receive_upload(request, service.settings.upload_folder, limit=limit)
    # From here on the thread owns the file: it ends whatever becomes of this request.
    body, intake = await run_in_threadpool(_accept, service, owner_id, name, upload)
    headers = {
        "Location": f"/v1/datasets/{name}",
        "Retry-After": str(retry_after_seconds(intake)),
    }
    return json_answer(body, status=202, headers=headers)


@router.delete("/{name}", status_code=204, responses=problems(404, 409), summary="Delete an upload")
def remove_dataset(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """Delete an upload and its files; what was made from it stays."""
    settings = service.settings
    with service.database.write() as connection:
        dataset = find_dataset(connection, owner_id, _checked_name(name), settings)
        if dataset.source == "named":
            raise ConflictError("dataset_named", f"data set {name!r} comes with the service")
        intake = None if dataset.job_id is None else find_job(connection, owner_id, dataset.job_id)
        deleted = delete_dataset(connection, owner_id, name)
    for job_id in deleted:
        service.store.delete_job(job_id)
        (settings.log_folder / f"{job_id}.log").unlink(missing_ok=True)
    if intake is not None:
        (settings.upload_folder / intake.params["upload"]).unlink(missing_ok=True)
    return Response(status_code=204)


def _accept(service: Service, owner_id: str, name: str, upload: Upload) -> tuple[DatasetBody, Job]:
    """Check an upload's structure and record it with the job that checks the rest."""
    settings = service.settings
    new = NewDataset(name=name, sha256=upload.sha256, n_bytes=upload.n_bytes)
    check = NewJob(
        kind=INTAKE,
        params={"upload": upload.path.name},
        dataset=name,
        queue=INTAKE_QUEUE,
        timeout_seconds=math.ceil(settings.intake_timeout_seconds),
        max_attempts=settings.max_attempts,
    )
    try:
        inspect_npz(upload.path, settings.max_decoded_bytes)
        with service.database.write() as connection:
            intake = insert_job(connection, owner_id, check)
            dataset = insert_dataset(connection, owner_id, new, intake)
            body = _body(connection, owner_id, dataset)
    except BaseException:
        upload.path.unlink(missing_ok=True)
        raise
    return body, intake


def _require_free_name(service: Service, owner_id: str, name: str) -> None:
    """Refuse a taken name before its bytes travel; the insert decides for good."""
    with service.database.read() as connection:
        try:
            find_dataset(connection, owner_id, name, service.settings)
        except NotFoundError:
            return
    raise ConflictError("dataset_exists", f"there already is a data set {name!r}")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NotFoundError("dataset_not_found", "there is no data set of this name")
    return name


def _body(connection: Connection, owner_id: str, dataset: Dataset) -> DatasetBody:
    why_not = _why_not(connection, owner_id, dataset)
    links = {"self": f"/v1/datasets/{dataset.name}"}
    if dataset.job_id is not None:
        links["job"] = f"/v1/jobs/{dataset.job_id}"
    return DatasetBody(
        name=dataset.name,
        source=dataset.source,
        state=dataset.state,
        available=why_not is None,
        why_not=why_not,
        facts=None if dataset.facts is None else _facts(dataset.facts),
        problem=None if dataset.problem is None else DatasetProblem(**dataset.problem),
        n_bytes=dataset.n_bytes,
        sha256=dataset.sha256,
        job_id=dataset.job_id,
        created_at=dataset.created_at,
        links=links,
    )


def _why_not(connection: Connection, owner_id: str, dataset: Dataset) -> str | None:
    if dataset.state == "ready":
        return None
    if dataset.problem is not None:
        return str(dataset.problem.get("detail", dataset.state))
    check = None if dataset.job_id is None else find_job(connection, owner_id, dataset.job_id)
    if check is None or check.is_terminal:
        state = "gone" if check is None else check.state
        return f"the job that checks it is {state}: delete the data set and upload it again"
    return "its content is still being checked"


def _facts(facts: DatasetFacts) -> FactsBody:
    return FactsBody(
        **facts.model_dump(mode="json"),
        n_classes=facts.n_classes,
        n_train=sum(facts.train_class_counts),
        n_test=sum(facts.test_class_counts),
    )
