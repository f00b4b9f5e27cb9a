"""Data sets: the named ones, and what owners have uploaded.

Uploads hold images or logits (see `logits`); they are written, decided and deleted alike, here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Select, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.shared.engine.deletion import delete_rows
from app.shared.errors import ConflictError, NotFoundError
from app.shared.settings import Settings
from app.shared.store.database import db_now
from app.shared.store.descriptions import (
    EVERYTHING,
    Search,
    change_description,
    description_of,
    found_by,
    index_description,
    matches,
)
from app.shared.store.job_records import Job, new_id
from app.shared.store.job_states import TERMINAL_STATES
from app.shared.store.kinds import INTAKE
from app.shared.store.tables import datasets, jobs
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.logits import LogitsFacts
from ddcal_core.specs.uploads import DatasetContent

IMAGES: Final = "images"
LOGITS: Final = "logits"
UploadState = Literal["checking", "ready", "rejected"]
DatasetState = UploadState | Literal["unavailable"]
Source = Literal["named", "upload"]

# A file that torchvision's reader of each data set needs, below the folder of named data sets.
NEEDED_FILES = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
    "fashion_mnist": "FashionMNIST/raw/train-images-idx3-ubyte",
    "cifar10": "cifar-10-batches-py/data_batch_1",
    "cifar100": "cifar-100-python/train",
    "svhn": "train_32x32.mat",
}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set that jobs can name.

    Attributes:
        id: None for a named one.
        source: named or upload.
        state: of an upload: checking, ready or rejected; a named one is ready or unavailable.
        facts: known once it is ready.
        problem: why it was rejected or is unavailable: code and detail.
        job_id: the job that checks the upload.
        image_files: of an upload of image files, what was asked for and found: n_images, n_ignored,
            split, test_fraction, seed, resize, colour.
    """

    name: str
    source: Source
    state: DatasetState
    facts: DatasetFacts | None
    id: str | None = None
    problem: dict[str, Any] | None = None
    job_id: str | None = None
    sha256: str | None = None
    n_bytes: int | None = None
    created_at: datetime | None = None
    image_files: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    notes: str | None = None


def find_dataset(connection: Connection, owner_id: str, name: str, settings: Settings) -> Dataset:
    """A named data set, or one the owner has uploaded.

    Raises:
        NotFoundError: there is none of that name.
    """
    if name in NAMED_DATASETS:
        return _named(name, settings)
    row = connection.execute(uploads_of(owner_id, IMAGES, name)).one_or_none()
    if row is None:
        raise NotFoundError("dataset_not_found", f"there is no data set {name!r}")
    return _upload(row)


def list_datasets(
    connection: Connection, owner_id: str, settings: Settings, search: Search = EVERYTHING
) -> list[Dataset]:
    """The named data sets, then the owner's uploads by name."""
    found = uploads_of(owner_id, IMAGES).where(
        *found_by(connection, owner_id, datasets, "data", search)
    )
    named = [name for name in NAMED_DATASETS if matches(search, name)]
    uploads = [_upload(row) for row in connection.execute(found)]
    return [_named(name, settings) for name in named] + uploads


def change_upload(
    connection: Connection,
    owner_id: str,
    content: DatasetContent,
    name: str,
    given: Mapping[str, Any],
) -> None:
    """Change the tags and notes of an upload.

    Raises:
        NotFoundError: the owner has no upload of that name and content.
        InvalidRequestError: see `change_description`.
    """
    row = connection.execute(uploads_of(owner_id, content, name)).one_or_none()
    if row is None:
        raise NotFoundError("dataset_not_found", f"there is no upload {name!r} of {content}")
    change_description(connection, owner_id, datasets, row.id, given)


def dataset_names(connection: Connection, owner_id: str) -> list[str]:
    """The names of all data sets that an owner's jobs may name."""
    return [*NAMED_DATASETS, *upload_names(connection, owner_id, IMAGES)]


def upload_names(connection: Connection, owner_id: str, content: DatasetContent) -> list[str]:
    """The names of an owner's uploads of one content, the newest 1,000."""
    statement = select(datasets.c.name).where(
        datasets.c.owner_id == owner_id, datasets.c.content == content
    )
    return list(connection.execute(statement.order_by(datasets.c.id.desc()).limit(1000)).scalars())


def uploads_of(owner_id: str, content: DatasetContent, name: str | None = None) -> Select[Any]:
    """The rows of an owner's uploads of one content, by name; of one name, if given.

    Each with the `intake_params` of the job that checks it.
    """
    statement = (
        select(datasets, jobs.c.params.label("intake_params"))
        .join(jobs, jobs.c.id == datasets.c.job_id)
        .where(datasets.c.owner_id == owner_id, datasets.c.content == content)
    )
    if name is not None:
        statement = statement.where(datasets.c.name == name)
    return statement.order_by(datasets.c.name)


@dataclass(frozen=True, kw_only=True)
class NewDataset:
    """An upload whose structure is right and whose content is still to be checked.

    Attributes:
        content: images or logits.
    """

    name: str
    content: DatasetContent = IMAGES
    sha256: str
    n_bytes: int
    tags: Mapping[str, str] | None = None
    notes: str | None = None


def awaited_uploads(connection: Connection) -> set[str]:
    """Names of the files in the folder of uploads that a job has yet to check, of all owners."""
    statement = select(jobs.c.params).where(
        jobs.c.kind == INTAKE, jobs.c.state.not_in(TERMINAL_STATES)
    )
    return {params["upload"] for params in connection.execute(statement).scalars()}


def upload_sha256(connection: Connection, intake: Job) -> str:
    """The sha256 that an upload had when it came in.

    Raises:
        NotFoundError: it has been deleted.
    """
    statement = select(datasets.c.sha256).where(datasets.c.job_id == intake.id)
    sha256: str | None = connection.execute(statement).scalar_one_or_none()
    if sha256 is None:
        raise NotFoundError("dataset_not_found", "the upload has been deleted")
    return sha256


def require_free_name(connection: Connection, owner_id: str, name: str) -> None:
    """Refuse a taken name early; the insert decides for good.

    Raises:
        ConflictError: the owner has an upload of that name, or a named data set is called so.
    """
    statement = select(datasets.c.content, datasets.c.state).where(
        datasets.c.owner_id == owner_id, datasets.c.name == name
    )
    row = connection.execute(statement).one_or_none()
    is_rejected = row is not None and row.state == "rejected"
    way_out = ", rejected; delete it first" if is_rejected else "; take another name"
    if name in NAMED_DATASETS or (row is not None and row.content == IMAGES):
        detail = f"there already is a data set {name!r}{way_out}"
        raise ConflictError("dataset_exists", detail)
    if row is not None:
        raise ConflictError("logits_exist", f"there already are logits {name!r}{way_out}")


def insert_dataset(connection: Connection, owner_id: str, new: NewDataset, intake: Job) -> None:
    """Record an upload as `checking`, with the job that checks it.

    Raises:
        ConflictError: the owner has an upload of that name, or a named data set is called so.
    """
    require_free_name(connection, owner_id, new.name)
    dataset_id = new_id("data")
    try:
        connection.execute(
            insert(datasets).values(
                id=dataset_id,
                owner_id=owner_id,
                name=new.name,
                content=new.content,
                state="checking",
                sha256=new.sha256,
                n_bytes=new.n_bytes,
                tags=new.tags and dict(new.tags),
                notes=new.notes,
                job_id=intake.id,
                created_at=db_now(),
            )
        )
    except IntegrityError as error:
        raise ConflictError("dataset_exists", f"there already is a {new.name!r}") from error
    # Searches find it by the words of its name as well.
    index_description(connection, owner_id, dataset_id, intake.id, description_of(new))


def accept_dataset(connection: Connection, intake: Job, facts: Mapping[str, Any]) -> str:
    """The intake has found an upload good; returns the data set's id."""
    model = LogitsFacts if intake.upload_content == LOGITS else DatasetFacts
    model.model_validate(facts, strict=False)
    return _decide(connection, intake, state="ready", facts=dict(facts))


def reject_dataset(connection: Connection, intake: Job, problem: Mapping[str, Any]) -> str:
    """The intake has found an upload bad; returns the data set's id."""
    return _decide(connection, intake, state="rejected", problem=dict(problem))


def delete_dataset(
    connection: Connection, owner_id: str, name: str, content: DatasetContent = IMAGES
) -> list[str]:
    """Delete an upload of images or of logits; results made from it stay.

    Returns:
        Ids of the jobs whose files can go once this has committed.

    Raises:
        NotFoundError: there is no upload of that name.
        ConflictError: a job that has not ended uses it.
    """
    row = connection.execute(uploads_of(owner_id, content, name)).one_or_none()
    if row is None:
        raise NotFoundError("dataset_not_found", f"there is no upload {name!r} of {content}")
    intake_id = row.job_id
    using = select(jobs.c.id).where(
        jobs.c.owner_id == owner_id,
        jobs.c.dataset == name,
        jobs.c.state.not_in(TERMINAL_STATES),
    )
    user = connection.execute(using.limit(1)).scalar_one_or_none()
    if user is not None:
        raise ConflictError("dataset_in_use", f"job {user}, which has not ended, uses {name!r}")
    delete_rows(connection, [intake_id])
    return [intake_id]


def _decide(connection: Connection, intake: Job, **values: object) -> str:
    deciding = update(datasets).where(datasets.c.job_id == intake.id).values(**values)
    dataset_id: str = connection.execute(deciding.returning(datasets.c.id)).scalar_one()
    return dataset_id


def _named(name: str, settings: Settings) -> Dataset:
    facts = NAMED_DATASETS[name]
    needed = NEEDED_FILES.get(name)
    if needed is None or settings.allow_downloads or _exists(settings.named_folder / needed):
        return Dataset(name=name, source="named", state="ready", facts=facts)
    detail = (
        f"the files of {name!r} are not in the service's data folder, and downloads are off "
        "(DDCAL_ALLOW_DOWNLOADS)"
    )
    problem = {"code": "dataset_unavailable", "detail": detail}
    return Dataset(name=name, source="named", state="unavailable", facts=facts, problem=problem)


def _exists(path: Path) -> bool:
    return path.exists() or path.with_suffix(".gz").exists()


def _upload(row: Row[Any]) -> Dataset:
    facts = None if row.facts is None else DatasetFacts.model_validate(row.facts, strict=False)
    return Dataset(
        name=row.name,
        source="upload",
        state=row.state,
        facts=facts,
        id=row.id,
        problem=row.problem,
        job_id=row.job_id,
        sha256=row.sha256,
        n_bytes=row.n_bytes,
        created_at=row.created_at,
        image_files=row.intake_params.get("image_files"),
        tags=row.tags,
        notes=row.notes,
    )
