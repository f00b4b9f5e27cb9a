"""/v1/datasets: the named ones and the uploads."""

from collections.abc import Callable, Sequence
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
    remove_upload,
    upload_body,
    why_not,
)
from app.api.schemas.uploads import (
    DatasetBody,
    DatasetList,
    FactsBody,
    ImageFilesBody,
    UploadProblem,
)
from app.shared.errors import ConflictError, FieldProblem, InvalidRequestError
from app.shared.inputs import datasets
from app.shared.inputs.datasets import IMAGES, Dataset, find_dataset
from app.shared.store.catalog import artifacts_of_resources
from app.shared.store.database import Connection
from app.submission.description_fields import UploadDescription
from ddcal_core.intake.structure.dataset_structure import inspect_dataset, not_applicable
from ddcal_core.intake.structure.image_zip_structure import ImageZipStructure
from ddcal_core.intake.structure.placed_images import asked_fraction
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.fields import DatasetName
from ddcal_core.specs.uploads import (
    SAMPLES_FILE,
    Background,
    Colour,
    GreyBits,
    ImageOptions,
    LabelColumn,
    Names,
    Side,
    SplitSeed,
    TestFraction,
)

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

MOST_NAMES = 20
SAMPLE = """zip -qr my-images.zip my-images     # my-images/cat/1.png, my-images/dog/1.png, ...
curl -X POST -H 'Content-Type: application/zip' --data-binary @my-images.zip \\
     'http://127.0.0.1:8000/v1/datasets?name=pets&resize=32&colour=rgb&test_fraction=0.2&seed=0'
"""
UPLOAD_BODY = {
    "parameters": [KEY_HEADER],
    **upload_body(
        "A zip, tar or tar.gz of PNG, JPEG, WebP, BMP or TIFF files as train/CLASS/FILE, "
        "test/CLASS/FILE and, if there is a validation split, val/CLASS/FILE; as CLASS/FILE; or "
        "with a table of labels (labels.csv). A .npz with x_train, y_train, x_test, y_test (and "
        "x_val, y_val), or MedMNIST's names; images uint8, or floating point in [0, 1], (N, H, W), "
        "(N, H, W, C) or (N, C, H, W); labels numbers, text or one-hot. The files of CIFAR-10, "
        "CIFAR-100, MNIST and its kin and SVHN as they are downloaded. Parquet or Arrow files of "
        "Hugging Face datasets. Without a test part one is split off by seed; facts.recognised "
        "tells what was recognised. EXIF orientation is followed, palettes become colour, opaque "
        "alpha is dropped, CMYK becomes RGB without a profile, 16 bits of grey become 8; 16 bits a "
        "channel of colour, transparent pixels without a background, animations, and any file that "
        "is no image are refused; .DS_Store, __MACOSX, Thumbs.db and the like are passed over and "
        "counted."
    ),
    "x-codeSamples": [{"lang": "Shell", "source": SAMPLE}],
}


class DatasetUpload(DescribedUpload):
    """The parameters of an upload; those that mean nothing to what was sent are refused."""

    name: DatasetName
    resize: Side = None
    colour: Colour = None
    background: Background = None
    grey_bits: GreyBits = None
    test_fraction: TestFraction = None
    seed: SplitSeed = None
    names: Names = None
    label: LabelColumn = None


@router.get("", response_model=DatasetList, responses=problems(422), summary="List data sets")
def list_datasets(
    service: ServiceDep, owner_id: OwnerDep, query: Annotated[SearchQuery, Query()]
) -> Response:
    """The named data sets with what is available of them, then the uploads."""
    with service.database.read() as connection:
        found = datasets.list_datasets(connection, owner_id, service.settings, query.search())
        items = dataset_bodies(connection, owner_id, found)
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
    responses=problems(400, 409, 410, 413, 415, 422, 507),
    openapi_extra=UPLOAD_BODY,
    summary="Upload a data set",
)
async def upload_dataset(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    asked: Annotated[DatasetUpload, Query()],
) -> Response:
    """Upload a file as the raw body: its structure is checked at once, its content by a job."""
    options = ImageOptions(**asked.model_dump(exclude={"name", "tag", "notes"}))
    upload = AskedUpload(
        owner_id=owner_id,
        name=asked.name,
        content=IMAGES,
        tags=asked.tags(),
        notes=asked.notes,
        options=options.model_dump(exclude_none=True),
        key=idempotency_key(request),
        inspect=_inspection(options),
    )
    return await answer_upload(request, service, upload, _shown)


@router.patch(
    "/{name}",
    response_model=DatasetBody,
    responses=problems(400, 404, 413, 415, 422),
    openapi_extra={"parameters": [UPLOAD_NAME], **change_body(UploadDescription)},
    summary="Change the tags or notes of a data set",
)
async def update_dataset(request: Request) -> Response:
    """What is left out stays; null takes away, of `tags` each by itself (RFC 7396)."""
    return await answer_change(request, IMAGES, _shown)


@router.delete("/{name}", status_code=204, responses=problems(404, 409), summary="Delete an upload")
def delete_dataset(service: ServiceDep, owner_id: OwnerDep, name: str) -> Response:
    """Delete an upload and its files; what was made from it stays."""
    with service.database.read() as connection:
        known = checked_name(name, "dataset_not_found")
        dataset = find_dataset(connection, owner_id, known, service.settings)
    if dataset.source == "named":
        raise ConflictError("dataset_named", f"data set {name!r} comes with the service")
    remove_upload(service, owner_id, dataset, IMAGES)
    return Response(status_code=204)


def _inspection(options: ImageOptions) -> Callable[[Path, int], dict[str, Any]]:
    """The check of an upload's structure, and of its options against what it turns out to be."""
    given = options.model_dump(exclude_none=True)

    def inspect(path: Path, max_decoded_bytes: int) -> dict[str, Any]:
        structure = inspect_dataset(path, max_decoded_bytes, options)
        problems = [
            FieldProblem(
                f"/query/{name}", "not_applicable", f"wanted none, as {why}; got {given[name]}"
            )
            for name, why in not_applicable(structure, options).items()
        ]
        if problems:
            raise InvalidRequestError("invalid_parameters", problems[0].detail, problems)
        found: dict[str, Any] = {"options": given} if given else {}
        if isinstance(structure, ImageZipStructure):
            found["image_files"] = _image_files(structure, options)
        return found

    return inspect


def _image_files(structure: ImageZipStructure, options: ImageOptions) -> dict[str, Any]:
    is_split = structure.split == "seed"
    return {
        "n_images": structure.n_images,
        "n_ignored": len(structure.ignored),
        "ignored": list(structure.ignored[:MOST_NAMES]),
        "resize": options.resize,
        "colour": options.colour,
        "split": structure.split,
        "test_fraction": asked_fraction(options) if is_split else None,
        "seed": (options.seed or 0) if is_split else None,
    }


def _shown(service: Service, owner_id: str, name: str) -> DatasetBody:
    with service.database.read() as connection:
        dataset = find_dataset(connection, owner_id, name, service.settings)
        (body,) = dataset_bodies(connection, owner_id, [dataset])
        return body


def dataset_bodies(
    connection: Connection, owner_id: str, found: Sequence[Dataset]
) -> list[DatasetBody]:
    """Data sets as they are shown, with the pictures that their intakes have drawn."""
    ids = [dataset.id for dataset in found if dataset.id is not None]
    samples = {
        file.resource_id: f"/v1/artifacts/{file.id}/content"
        for file in artifacts_of_resources(connection, owner_id, ids)
        if file.name == SAMPLES_FILE
    }
    return [
        _body(connection, owner_id, dataset, samples.get(dataset.id or "")) for dataset in found
    ]


def _body(
    connection: Connection, owner_id: str, dataset: Dataset, samples: str | None
) -> DatasetBody:
    reason = why_not(connection, owner_id, dataset)
    links = {"self": f"/v1/datasets/{dataset.name}"}
    if samples is not None:
        links["samples"] = samples
    if dataset.job_id is not None:
        links["job"] = f"/v1/jobs/{dataset.job_id}"
    return DatasetBody(
        name=dataset.name,
        source=dataset.source,
        state=dataset.state,
        available=reason is None,
        why_not=reason,
        facts=None if dataset.facts is None else _facts(dataset.facts),
        image_files=dataset.image_files and ImageFilesBody(**dataset.image_files),
        problem=None if dataset.problem is None else UploadProblem(**dataset.problem),
        n_bytes=dataset.n_bytes,
        sha256=dataset.sha256,
        job_id=dataset.job_id,
        created_at=dataset.created_at,
        tags=dataset.tags or {},
        notes=dataset.notes,
        links=links,
    )


def _facts(facts: DatasetFacts) -> FactsBody:
    return FactsBody(
        **facts.model_dump(mode="json"),
        n_classes=facts.n_classes,
        n_train=sum(facts.train_class_counts),
        n_validation=facts.n_own_validation,
        n_test=sum(facts.test_class_counts),
    )
