"""POST /v1/models: networks made elsewhere, to be calibrated as if they were trained here."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import ConfigDict, ValidationError

from app.api.http.dependencies import OwnerDep, Service, ServiceDep
from app.api.http.idempotency import KEY_HEADER, idempotency_key
from app.api.http.responses import problems
from app.api.intakes import (
    AskedUpload,
    DescribedUpload,
    answer_import,
    refused_parameter,
    upload_body,
)
from app.api.schemas.jobs import JobBody
from app.shared.errors import InvalidRequestError
from app.submission.description_fields import Name
from app.submission.network_checks import check_network_options
from app.submission.references import CheckContext
from ddcal_core.intake.structure.network_structure import inspect_network
from ddcal_core.specs.foreign_networks import AnyNetwork, NetworkOptions

router = APIRouter(prefix="/v1/models", tags=["results"])

# Not a sample to run as it stands: it needs the file that somebody has exported.
SAMPLE = """curl -X POST -H 'Content-Type: application/octet-stream' \\
     --data-binary @resnet18.onnx \\
     'http://127.0.0.1:8000/v1/models?name=resnet&dataset=digits&space=standardised'
"""
UPLOAD_BODY = {
    "parameters": [KEY_HEADER],
    **upload_body(
        "An ONNX file whose weights are inside: one input, float32 images of four dimensions, one "
        "output (N, K), operators of ONNX alone, without loops; or safetensors with the parameters "
        "of a network known by name."
    ),
    "x-codeSamples": [{"lang": "Shell", "source": SAMPLE}],
}


class NetworkUpload(DescribedUpload, NetworkOptions):
    """The parameters of an upload of a network."""

    # In a query everything is text.
    model_config = ConfigDict(strict=False)

    name: Name


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=problems(400, 409, 410, 413, 415, 422, 507),
    openapi_extra=UPLOAD_BODY,
    summary="Upload a network made elsewhere",
)
async def upload_network(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    asked: Annotated[NetworkUpload, Query()],
) -> Response:
    """Upload a file as the raw body: a job reads the network and tries it on a few real images.

    The job makes the model, which `calibrate` takes by its id or by the job's.
    """
    options = NetworkOptions(**asked.model_dump(include=set(NetworkOptions.model_fields)))
    network = _network_of(options)
    await run_in_threadpool(_check, service, owner_id, options)
    upload = AskedUpload(
        owner_id=owner_id,
        name=asked.name,
        content="network",
        tags=asked.tags(),
        notes=asked.notes,
        options=options.model_dump(mode="json", exclude_none=True),
        key=idempotency_key(request),
        inspect=_inspection(options, network),
        dataset=options.dataset,
    )
    return await answer_import(request, service, upload)


def _network_of(options: NetworkOptions) -> AnyNetwork:
    try:
        return options.network()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "architecture"
        raise refused_parameter(field, "not_applicable", f"{field}: {first['msg']}") from error
    except ValueError as error:
        raise refused_parameter("architecture", "not_applicable", str(error)) from error


def _check(service: Service, owner_id: str, options: NetworkOptions) -> None:
    """Check what is said of a network against what there is here.

    Raises:
        InvalidRequestError: some parameters are invalid; the problems name them.
    """
    with service.database.read() as connection:
        context = CheckContext(connection=connection, owner_id=owner_id, settings=service.settings)
        check_network_options(context, options)
    if context.problems:
        detail = context.problems[0].detail
        raise InvalidRequestError("invalid_parameters", detail, context.problems)


def _inspection(
    options: NetworkOptions, network: AnyNetwork
) -> Callable[[Path, int], dict[str, Any]]:
    def inspect(path: Path, _max_decoded_bytes: int) -> dict[str, Any]:
        return {
            "options": options.model_dump(mode="json", exclude_none=True),
            "file_format": inspect_network(path, network),
        }

    return inspect
