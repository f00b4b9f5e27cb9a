"""Uploads of either content: a raw body taken in, its check as a job, its end."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.api.http.dependencies import Service, current_owner, service_of
from app.api.http.idempotency import REPLAYED, keyed
from app.api.http.multipart_uploads import MEDIA_TYPE, boundary_of, receive_files
from app.api.http.request_bodies import require_declared_length, require_media_type
from app.api.http.responses import json_answer
from app.api.http.searching import TagOf, asked_change, written
from app.api.http.uploads import Upload, receive_upload
from app.api.job_views import retry_after, whole_job_body
from app.api.schemas.jobs import JobBody
from app.shared.engine.deletion import delete_files
from app.shared.engine.idempotency import KeyedRequest, is_key_taken, take_key
from app.shared.engine.jobs import insert_job
from app.shared.errors import (
    ConflictError,
    FieldProblem,
    GoneError,
    InvalidRequestError,
    NotFoundError,
)
from app.shared.inputs.datasets import (
    Dataset,
    NewDataset,
    change_upload,
    delete_dataset,
    insert_dataset,
    require_free_name,
)
from app.shared.inputs.logits import Logits
from app.shared.settings import Settings
from app.shared.store.database import Connection
from app.shared.store.descriptions import MAX_TAGS
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job, NewJob
from app.shared.store.kinds import INTAKE, queue_of_upload
from app.shared.store.tables import DATASET_CONTENTS
from app.submission.description_fields import Notes, UploadDescription
from ddcal_core.specs.uploads import DatasetContent, UploadContent

UPLOAD_TYPES = (
    *("application/octet-stream", "application/zip", MEDIA_TYPE, "application/x-zip-compressed"),
    *("application/x-zip", "application/gzip", "application/x-gzip", "application/x-tar"),
    *("application/x-compressed-tar", "application/x-npz", "application/vnd.apache.parquet"),
    *("application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream"),
)
"""What a file may be sent as; it is told by its bytes, whatever it is called."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def upload_body(description: str) -> dict[str, Any]:
    """The OpenAPI of a body that is a file."""
    # One type of the two that are taken: generators of clients know no other name for bytes.
    content = {UPLOAD_TYPES[0]: {"schema": {"type": "string", "format": "binary"}}}
    told = (
        f"{description} Sent as {' or '.join(UPLOAD_TYPES[:2])}, or as {MEDIA_TYPE}: one file, or "
        "several that are taken for a zip of them."
    )
    return {"requestBody": {"required": True, "description": told, "content": content}}


UPLOAD_NAME: dict[str, Any] = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "title": "Name"},
}


class DescribedUpload(BaseModel):
    """What is said of an upload, in its query."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tag: list[TagOf] = Field(
        [],
        max_length=MAX_TAGS,
        description="`KEY:VALUE`, to find it by; several times for several, each key once.",
        examples=[["env:prod"]],
    )
    notes: Notes | None = Field(None, description="Anything worth remembering.")

    @field_validator("tag")
    @classmethod
    def _each_key_once(cls, tags: list[str]) -> list[str]:
        keys = [tag.partition(":")[0] for tag in tags]
        if len(set(keys)) < len(keys):
            raise ValueError(f"wanted each key once, got {', '.join(keys)}")
        return tags

    def tags(self) -> dict[str, str] | None:
        """Key -> value; None for none."""
        pairs = (tag.partition(":") for tag in self.tag)
        return {key: value for key, _, value in pairs} or None


@dataclass(frozen=True, kw_only=True)
class AskedUpload:
    """What is asked of an upload.

    Attributes:
        owner_id: whose it is.
        name: as it is to be called.
        content: what it holds.
        options: of its content.
        tags: of the upload.
        notes: likewise.
        key: the request's, if it has one.
        inspect: the check of its structure, told the path and the most bytes after decoding; gives
            what the job's params have to say besides.
        dataset: of what makes results, which one they belong to.
    """

    owner_id: str
    name: str
    content: UploadContent
    options: Mapping[str, Any]
    tags: Mapping[str, str] | None
    notes: str | None
    key: str | None
    inspect: Callable[[Path, int], Mapping[str, Any]]
    dataset: str | None = None


async def answer_upload(
    request: Request,
    service: Service,
    asked: AskedUpload,
    show: Callable[[Service, str, str], BaseModel],
) -> Response:
    """Take an upload in, see `take_upload`, and show it.

    Args:
        request: whose body is still unread.
        service: of this process.
        asked: what the request asks for.
        show: gives what there is now of an owner under a name.

    Returns:
        202 with the upload as it is now, and where to look for it.
    """
    _, headers = await take_upload(request, service, asked)
    body = await run_in_threadpool(show, service, asked.owner_id, asked.name)
    headers["Location"] = f"{request.url.path}/{asked.name}"
    return json_answer(body, status=202, headers=headers)


async def take_upload(
    request: Request, service: Service, asked: AskedUpload
) -> tuple[Job, dict[str, str]]:
    """Stream an upload to disk, check its structure, record it with the job that checks the rest.

    One that came before under the same key is taken in again, to be compared, and thrown away.

    Args:
        request: whose body is still unread.
        service: of this process.
        asked: what the request asks for.

    Returns:
        The job that checks it, and headers of the answer.

    Raises:
        DdcalError, InvalidDataError: it is refused; no row and no file is left of it.
    """
    require_media_type(request, UPLOAD_TYPES)
    require_declared_length(request, service.settings.max_upload_bytes)
    if asked.content in DATASET_CONTENTS:
        await run_in_threadpool(_require_free_name, service, asked, request.url.path)
    boundary = boundary_of(request)
    if boundary is None:
        upload = await receive_upload(request, service.settings)
    else:
        upload = await receive_files(request, service.settings, boundary)
    whole: dict[str, Any] = {
        "name": asked.name,
        "options": dict(asked.options),
        "sha256": upload.sha256,
    }
    said = {"tags": asked.tags, "notes": asked.notes}
    whole |= {name: value for name, value in said.items() if value is not None}
    once = keyed(request, asked.key, whole)
    # From here on the thread owns the file: it ends whatever becomes of this request.
    request_id = request.state.request_id
    intake, is_new = await run_in_threadpool(_accept, service, asked, upload, once, request_id)
    return intake, {**({} if is_new else REPLAYED), **retry_after(intake)}


async def answer_import(request: Request, service: Service, upload: AskedUpload) -> Response:
    """Take in what has no row of its own; the answer is the job whose results it becomes."""
    intake, headers = await take_upload(request, service, upload)
    headers["Location"] = f"/v1/jobs/{intake.id}"
    body = await run_in_threadpool(_shown, service, upload.owner_id, intake.id)
    return json_answer(body, status=202, headers=headers)


def _shown(service: Service, owner_id: str, job_id: str) -> JobBody:
    with service.database.read() as connection:
        return whole_job_body(connection, find_job(connection, owner_id, job_id))


async def answer_change(
    request: Request, content: DatasetContent, show: Callable[[Service, str, str], BaseModel]
) -> Response:
    """Change the tags and notes of an upload, and show it.

    Args:
        request: whose body is still unread.
        content: images or logits.
        show: gives what there is now of an owner under a name.
    """
    name = checked_name(request.path_params["name"], "dataset_not_found")
    service, owner_id = await service_of(request), await current_owner(request)
    given = await asked_change(request, UploadDescription)

    def change(connection: Connection) -> None:
        change_upload(connection, owner_id, content, name, given)

    await written(service, change)
    return json_answer(await run_in_threadpool(show, service, owner_id, name))


def remove_upload(
    service: Service, owner_id: str, upload: Dataset | Logits, content: DatasetContent
) -> None:
    """Delete an upload and its files.

    Raises:
        ConflictError: a job that has not ended uses it.
    """
    settings = service.settings
    with service.database.write() as connection:
        intake = find_job(connection, owner_id, upload.job_id or "")
        deleted = delete_dataset(connection, owner_id, upload.name, content)
    for job_id in deleted:
        delete_files(settings, job_id)
    (settings.upload_folder / intake.params["upload"]).unlink(missing_ok=True)


def why_not(connection: Connection, owner_id: str, upload: Dataset | Logits) -> str | None:
    """Why jobs cannot use an upload now; None where they can."""
    if upload.state == "ready":
        return None
    if upload.problem is not None:
        return str(upload.problem.get("detail", upload.state))
    check = None if upload.job_id is None else find_job(connection, owner_id, upload.job_id)
    if check is None or check.is_terminal:
        state = "gone" if check is None else check.state
        return f"the job that checks it is {state}: delete {upload.name!r} and upload it again"
    return "its content is still being checked"


def refused_parameter(field: str, code: str, detail: str) -> InvalidRequestError:
    """The refusal of an upload over a parameter."""
    problem = FieldProblem(f"/query/{field}", code, detail)
    return InvalidRequestError("invalid_parameters", detail, [problem])


def checked_name(name: str, code: str) -> str:
    """A name out of an address, if it can be one.

    Raises:
        NotFoundError: nothing can be called so.
    """
    if not _NAME.fullmatch(name):
        raise NotFoundError(code, "there is nothing of this name")
    return name


def _accept(
    service: Service,
    asked: AskedUpload,
    upload: Upload,
    once: KeyedRequest | None,
    request_id: str,
) -> tuple[Job, bool]:
    """The job that checks an upload, and whether it is new; the file stays for a new one alone."""
    is_new = False
    try:
        check = _check_of(service.settings, asked, upload, request_id)
        with service.database.write() as connection:
            known = None if once is None else take_key(connection, asked.owner_id, once, check.id)
            if known is not None:
                return _made_before(connection, asked, known), False
            intake = _insert(connection, asked, upload, check)
        is_new = True
        return intake, True
    finally:
        if not is_new:
            upload.path.unlink(missing_ok=True)
        upload.release()


def _check_of(settings: Settings, asked: AskedUpload, upload: Upload, request_id: str) -> NewJob:
    inspected = asked.inspect(upload.path, settings.max_decoded_bytes)
    params = {"upload": upload.path.name, "content": asked.content, **inspected}
    said: dict[str, Any] = {}
    if asked.content not in DATASET_CONTENTS:
        # What has no row of its own is described by its job, whose results take that on.
        params |= {"sha256": upload.sha256, "n_bytes": upload.n_bytes}
        said = {"name": asked.name, "tags": asked.tags, "notes": asked.notes}
    return NewJob(
        kind=INTAKE,
        params=params,
        dataset=asked.dataset or asked.name,
        **said,
        queue=queue_of_upload(asked.content, asked.options),
        timeout_seconds=math.ceil(settings.intake_timeout_seconds),
        max_attempts=settings.max_attempts,
        request_id=request_id,
    )


def _insert(connection: Connection, asked: AskedUpload, upload: Upload, check: NewJob) -> Job:
    intake = insert_job(connection, asked.owner_id, check)
    if asked.content not in DATASET_CONTENTS:
        return intake
    new = NewDataset(
        name=asked.name,
        content=asked.content,
        sha256=upload.sha256,
        n_bytes=upload.n_bytes,
        tags=asked.tags,
        notes=asked.notes,
    )
    insert_dataset(connection, asked.owner_id, new, intake)
    return intake


def _made_before(connection: Connection, asked: AskedUpload, job_id: str) -> Job:
    try:
        return find_job(connection, asked.owner_id, job_id)
    except NotFoundError:
        detail = f"this request has uploaded a {asked.name!r} that has been deleted"
        raise GoneError("upload_deleted", detail) from None


def _require_free_name(service: Service, asked: AskedUpload, path: str) -> None:
    """Before its bytes travel; who has taken the name may be this request itself."""
    with service.database.read() as connection:
        try:
            require_free_name(connection, asked.owner_id, asked.name)
        except ConflictError:
            key = asked.key
            if key is None or not is_key_taken(connection, asked.owner_id, path=path, key=key):
                raise
