"""/v1/logits: logits and labels of models made elsewhere, to be calibrated without an image."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.api.http.dependencies import OwnerDep, Service, ServiceDep
from app.api.http.idempotency import KEY_HEADER, idempotency_key
from app.api.http.responses import json_answer, problems
from app.api.http.searching import SearchQuery, change_body
from app.api.intakes import (
    UPLOAD_NAME,
    AskedUpload,
    DescribedUpload,
    answer_change,
    answer_upload,
    checked_name,
    refused_parameter,
    remove_upload,
    upload_body,
    why_not,
)
from app.api.schemas.uploads import LogitsBody, LogitsFactsBody, LogitsList, UploadProblem
from app.shared.inputs import logits as uploads
from app.shared.inputs.datasets import LOGITS
from app.shared.inputs.logits import Logits, find_logits
from app.shared.store.database import Connection
from app.submission.description_fields import UploadDescription
from ddcal_core.intake.structure.logit_values import undeclared_values
from ddcal_core.intake.structure.logits_structure import inspect_logits
from ddcal_core.specs.logits import LogitsFacts, LogitsName, Values

router = APIRouter(prefix="/v1/logits", tags=["logits"])

# Drawn so that it is over-confident: its best temperature is 1.5.
SAMPLE = """python3 -c 'import numpy as np
g = np.random.default_rng(0)
y = g.integers(0, 10, 4000)
z = 3 * (g.normal(size=(4000, 10)) + 2 * np.eye(10)[y])
np.savez("my-network.npz", logits_fit=z[:2000], labels_fit=y[:2000],
         logits_test=z[2000:], labels_test=y[2000:])'
curl -X POST -H 'Content-Type: application/zip' --data-binary @my-network.npz \\
     'http://127.0.0.1:8000/v1/logits?name=my-network'
curl -X POST -H 'Content-Type: application/json' \\
     -d '{"kind": "calibrate", "params": {"logits": "my-network"}}' http://127.0.0.1:8000/v1/jobs
"""
UPLOAD_BODY = {
    "parameters": [KEY_HEADER],
    **upload_body(
        "A .npz with logits_fit (N, K) float16, float32 or float64, the network's outputs before "
        "the softmax (or log probabilities), and labels_fit (N,) or (N, 1) integers from 0; "
        "optionally logits_test and labels_test, other rows to measure on, and class_names (K,). "
        "Names are shared with data sets."
    ),
    "x-codeSamples": [{"lang": "Shell", "source": SAMPLE}],
}


class LogitsUpload(DescribedUpload):
    """The parameters of an upload of logits."""

    name: LogitsName
    values: Values = None


@router.get("", response_model=LogitsList, responses=problems(422), summary="List uploaded logits")
def list_logits(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[SearchQuery, Query()]
) -> Response:
    """All uploads of logits, by name."""
    with service.database.read() as connection:
        found = uploads.list_logits(connection, owner_id, query.search())
        items = [logits_body(connection, owner_id, logits) for logits in found]
    return json_answer(LogitsList(items=items))


@router.get("/{name}", response_model=LogitsBody, responses=problems(404), summary="Look at logits")
def get_logits(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """One upload of logits; it goes from `checking` to `ready` or `rejected`."""
    return json_answer(_shown(service, owner_id, checked_name(name, "logits_not_found")))


@router.post(
    "",
    status_code=202,
    response_model=LogitsBody,
    responses=problems(400, 409, 410, 413, 415, 422, 507),
    openapi_extra=UPLOAD_BODY,
    summary="Upload logits and labels",
)
async def upload_logits(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    asked: Annotated[LogitsUpload, Query()],
) -> Response:
    """Upload a .npz as the raw body: its structure is checked at once, its content by a job."""
    upload = AskedUpload(
        owner_id=owner_id,
        name=asked.name,
        content=LOGITS,
        tags=asked.tags(),
        notes=asked.notes,
        options=asked.model_dump(exclude={"name", "tag", "notes"}, exclude_none=True),
        key=idempotency_key(request),
        inspect=_inspection(asked.values),
    )
    return await answer_upload(request, service, upload, _shown)


@router.patch(
    "/{name}",
    response_model=LogitsBody,
    responses=problems(400, 404, 413, 415, 422),
    openapi_extra={"parameters": [UPLOAD_NAME], **change_body(UploadDescription)},
    summary="Change the tags or notes of logits",
)
async def update_logits(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await answer_change(request, LOGITS, _shown)


@router.delete("/{name}", status_code=204, responses=problems(404, 409), summary="Delete logits")
def delete_logits(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """Delete uploaded logits and their files; what was made from them stays."""
    with service.database.read() as connection:
        logits = find_logits(connection, owner_id, checked_name(name, "logits_not_found"))
    remove_upload(service, owner_id, logits, LOGITS)
    return Response(status_code=204)


def _inspection(values: Values) -> Callable[[Path, int], dict[str, Any]]:
    """The check of an upload's structure, and of what its numbers look like where not declared."""

    def inspect(path: Path, max_decoded_bytes: int) -> dict[str, Any]:
        structure = inspect_logits(path, max_decoded_bytes)
        detail = undeclared_values(path, structure) if values is None else None
        if detail is not None:
            raise refused_parameter("values", "not_logits", detail)
        return {"options": {} if values is None else {"values": values}}

    return inspect


def _shown(service: Service, owner_id: str, name: str) -> LogitsBody:
    with service.database.read() as connection:
        return logits_body(connection, owner_id, find_logits(connection, owner_id, name))


def logits_body(connection: Connection, owner_id: str, logits: Logits) -> LogitsBody:
    """An upload of logits as it is shown."""
    reason = why_not(connection, owner_id, logits)
    return LogitsBody(
        name=logits.name,
        state=logits.state,
        available=reason is None,
        why_not=reason,
        facts=None if logits.facts is None else _facts(logits.facts),
        problem=None if logits.problem is None else UploadProblem(**logits.problem),
        n_bytes=logits.n_bytes,
        sha256=logits.sha256,
        job_id=logits.job_id,
        created_at=logits.created_at,
        tags=logits.tags or {},
        notes=logits.notes,
        links={"self": f"/v1/logits/{logits.name}", "job": f"/v1/jobs/{logits.job_id}"},
    )


def _facts(facts: LogitsFacts) -> LogitsFactsBody:
    return LogitsFactsBody(
        **facts.model_dump(mode="json"),
        n_classes=facts.n_classes,
        n_fit=facts.n_fit,
        n_test=facts.n_test,
    )
