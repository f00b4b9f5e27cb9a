"""/datasets and /logits: what jobs read, looked at, described and deleted."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.api import datasets as api_datasets
from app.api import logits as api_logits
from app.api.datasets import dataset_bodies
from app.api.http.access import see_other
from app.api.http.dependencies import OwnerDep, Service, ServiceDep
from app.api.intakes import checked_name
from app.api.logits import logits_body
from app.api.schemas.uploads import DatasetBody, LogitsBody
from app.shared.inputs.datasets import find_dataset, list_datasets
from app.shared.inputs.logits import find_logits, list_logits
from app.shared.store.job_queries import list_jobs
from app.web.drafts import submitted
from app.web.job_rows import job_rows
from app.web.rendering import page

router = APIRouter(include_in_schema=False)

PATH = "/datasets"
LOGITS_PATH = "/logits"
EVERY_SECONDS = 3
"""While an upload is checked."""
N_JOBS = 10


@router.get(PATH)
def get_datasets(request: Request, service: ServiceDep, owner_id: OwnerDep) -> HTMLResponse:
    """All data sets and all uploaded logits."""
    with service.database.read() as connection:
        found = list_datasets(connection, owner_id, service.settings)
        shown = dataset_bodies(connection, owner_id, found)
        logits = [
            logits_body(connection, owner_id, one) for one in list_logits(connection, owner_id)
        ]
    states = {one.state for one in shown} | {one.state for one in logits}
    values = {
        "own": [one for one in shown if one.source == "upload"],
        "named": [one for one in shown if one.source == "named"],
        "logits": logits,
        "every": EVERY_SECONDS if "checking" in states else None,
    }
    return page(request, service, "datasets.html", values)


@router.get(f"{PATH}/{{name}}")
def get_dataset(
    request: Request, service: ServiceDep, owner_id: OwnerDep, name: str
) -> HTMLResponse:
    """One data set, and the latest jobs on it."""
    known = checked_name(name, "dataset_not_found")
    with service.database.read() as connection:
        dataset = find_dataset(connection, owner_id, known, service.settings)
        (shown,) = dataset_bodies(connection, owner_id, [dataset])
    return _upload_page(request, service, owner_id, shown, "dataset.html")


@router.get(f"{LOGITS_PATH}/{{name}}")
def get_logits(request: Request, service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """One upload of logits, and the latest jobs on it."""
    with service.database.read() as connection:
        logits = find_logits(connection, owner_id, checked_name(name, "logits_not_found"))
        shown = logits_body(connection, owner_id, logits)
    return _upload_page(request, service, owner_id, shown, "logits.html")


@router.post(f"{PATH}/{{name}}/delete")
def delete_dataset(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """Delete an upload; what was made from it stays."""
    api_datasets.delete_dataset(service, owner_id, name)
    return see_other(PATH)


@router.post(f"{LOGITS_PATH}/{{name}}/delete")
def delete_logits(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """Likewise of logits."""
    api_logits.delete_logits(service, owner_id, name)
    return see_other(PATH)


def _upload_page(
    request: Request,
    service: Service,
    owner_id: str,
    shown: DatasetBody | LogitsBody,
    template: str,
) -> HTMLResponse:
    filters = {"dataset": shown.name, "parent_id": ""}
    with service.database.read() as connection:
        jobs = list_jobs(connection, owner_id, filters=filters, limit=N_JOBS)
        rows = [row for row in job_rows(connection, owner_id, jobs) if row.job.kind != "intake"]
    values: dict[str, Any] = {
        "shown": shown,
        "rows": rows,
        "every": EVERY_SECONDS if shown.state == "checking" else None,
    }
    return page(request, service, template, values)


@router.post(f"{LOGITS_PATH}/{{name}}/calibrate")
def calibrate_logits(
    request: Request, service: ServiceDep, owner_id: OwnerDep, name: str
) -> Response:
    """Calibrate them in every way that needs no images, and lead to the job."""
    asked = {"kind": "calibrate", "params": {"logits": name}}
    return submitted(request, service, owner_id, asked)
