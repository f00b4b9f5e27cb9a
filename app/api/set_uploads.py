"""POST /v1/distilled-sets: sets made elsewhere, to be trained on as if they were made here."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import ConfigDict

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
from app.submission.references import CheckContext, known_dataset, usable_dataset
from ddcal_core.intake.structure.set_structure import inspect_sets
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import MAX_WHITENED_FEATURES
from ddcal_core.specs.uploads import SetOptions

router = APIRouter(prefix="/v1/distilled-sets", tags=["results"])

# Not a sample to run as it stands: it needs the file that somebody has distilled.
SAMPLE = """curl -X POST -H 'Content-Type: application/octet-stream' \\
     --data-binary @res_DC_MNIST_ConvNet_10ipc.pt \\
     'http://127.0.0.1:8000/v1/distilled-sets?name=dc&dataset=mnist&space=standardised'
"""
UPLOAD_BODY = {
    "parameters": [KEY_HEADER],
    **upload_body(
        "A .pt as the code of DC, DSA and DM writes it ({'data': [[images, labels], ...]}, of one "
        "or several experiments); a zip of the images_*.pt and labels_*.pt of MTT and TESLA "
        "(images_zca_* are pixels); a .pt of [images, labels] or of both by name; .npz or "
        "safetensors of images and labels. Images (M, C, H, W) of the data set's size, labels "
        "(M,), or soft ones (M, K). Told by what it holds, not by its name; nothing in it is ever "
        "executed."
    ),
    "x-codeSamples": [{"lang": "Shell", "source": SAMPLE}],
}


class SetUpload(DescribedUpload, SetOptions):
    """The parameters of an upload of distilled sets."""

    # In a query everything is text.
    model_config = ConfigDict(strict=False)

    name: Name


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=problems(400, 409, 410, 413, 415, 422, 507),
    openapi_extra=UPLOAD_BODY,
    summary="Upload distilled sets made elsewhere",
)
async def upload_distilled_sets(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    asked: Annotated[SetUpload, Query()],
) -> Response:
    """Upload a file as the raw body: its structure is checked at once, its content by a job.

    The job makes the sets: NAME, or of a file that holds several NAME-0, NAME-1, ...
    """
    options = SetOptions(**asked.model_dump(include=set(SetOptions.model_fields)))
    facts = await run_in_threadpool(_facts_of, service, owner_id, options)
    _check_numbers(facts, options)
    upload = AskedUpload(
        owner_id=owner_id,
        name=asked.name,
        content="distilled_sets",
        tags=asked.tags(),
        notes=asked.notes,
        options=options.model_dump(mode="json", exclude_none=True),
        key=idempotency_key(request),
        inspect=_inspection(facts, options),
        dataset=options.dataset,
    )
    return await answer_import(request, service, upload)


def _facts_of(service: Service, owner_id: str, options: SetOptions) -> DatasetFacts:
    """What is known of the data set; its images are needed here to fit a matrix on them alone.

    Raises:
        InvalidRequestError: there is none of that name, or nothing is known of it yet.
    """
    name, pointer = options.dataset, "/query/dataset"
    with service.database.read() as connection:
        context = CheckContext(connection=connection, owner_id=owner_id, settings=service.settings)
        if options.zca_eps is None:
            dataset = known_dataset(context, name, pointer)
        else:
            dataset = usable_dataset(context, name, pointer)
    if dataset is None:
        (problem,) = context.problems
        raise InvalidRequestError("invalid_parameters", problem.detail, [problem])
    if dataset.facts is None:
        detail = f"wanted a data set that has been checked, got {name!r}, which is {dataset.state}"
        raise refused_parameter("dataset", "dataset_not_ready", detail)
    return dataset.facts


def _check_numbers(facts: DatasetFacts, options: SetOptions) -> None:
    """Are mean and std one a channel, and of standardised images; zca_eps of whitened ones?"""
    n_channels, n_features = facts.image_shape[0], math.prod(facts.image_shape)
    if options.zca_eps is not None and options.space != "zca":
        detail = f"zca_eps: wanted none, as {options.space} images are not whitened"
        raise refused_parameter("zca_eps", "not_applicable", detail)
    if options.zca_eps is not None and n_features > MAX_WHITENED_FEATURES:
        detail = (
            f"zca_eps: wanted images of at most {MAX_WHITENED_FEATURES:,} features to fit a matrix "
            f"for; got {n_features:,}"
        )
        raise refused_parameter("zca_eps", "images_too_large_to_whiten", detail)
    for field, numbers in (("mean", options.mean), ("std", options.std)):
        if numbers is None:
            continue
        if options.space != "standardised":
            detail = f"{field}: wanted none, as {options.space} images have no such numbers"
            raise refused_parameter(field, "not_applicable", detail)
        if len(numbers) != n_channels:
            detail = f"{field}: wanted {n_channels} numbers, one a channel; got {len(numbers)}"
            raise refused_parameter(field, "wrong_length", detail)
        if field == "std" and min(numbers) <= 0:
            raise refused_parameter(
                field, "out_of_range", f"std: wanted numbers above 0; got {numbers}"
            )


def _inspection(facts: DatasetFacts, options: SetOptions) -> Callable[[Path, int], dict[str, Any]]:
    """The check of a file's structure, and of the set chosen in it."""

    def inspect(path: Path, max_decoded_bytes: int) -> dict[str, Any]:
        structure = inspect_sets(path, max_decoded_bytes, facts)
        chosen, n_sets = options.experiment, structure.n_sets
        if chosen is not None and chosen >= n_sets:
            held = f"there are {n_sets} sets" if n_sets > 1 else "there is one set"
            detail = f"wanted 0 to {n_sets - 1}, as {held} in the file; got {chosen}"
            raise refused_parameter("experiment", "out_of_range", detail)
        return {
            "options": options.model_dump(mode="json", exclude_none=True),
            "file_format": structure.file_format,
            "n_sets": n_sets if chosen is None else 1,
        }

    return inspect
