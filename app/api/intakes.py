"""Uploads of either content: a raw body taken in, its check as a job, its end."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.api.bodies import require_declared_length, require_media_type
from app.api.dependencies import Service
from app.api.job_shapes import retry_after_seconds
from app.api.uploads import Upload, receive_upload
from app.shared.catalog import find_job
from app.shared.database import Connection
from app.shared.datasets import (
    Dataset,
    NewDataset,
    delete_dataset,
    insert_dataset,
    require_free_name,
)
from app.shared.errors import NotFoundError
from app.shared.job_records import INTAKE, Job, NewJob
from app.shared.jobs import insert_job
from app.shared.logits import Logits
from app.shared.queue import INTAKE_QUEUE

UPLOAD_TYPES = ("application/octet-stream", "application/zip")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def upload_body(description: str) -> dict[str, Any]:
    """The OpenAPI of a body that is a file."""
    content = {name: {"schema": {"type": "string", "format": "binary"}} for name in UPLOAD_TYPES}
    body = {"required": True, "description": description, "content": content}
    return {"requestBody": body}


async def take_upload(
    request: Request,
    service: Service,
    owner_id: str,
    name: str,
    *,
    content: str,
    inspect: Callable[[Path, int], Mapping[str, Any]],
) -> dict[str, str]:
    """Stream an upload to disk, check its structure, record it with the job that checks the rest.

    Args:
        request: whose body is still unread.
        service: of this process.
        owner_id: whose upload it is.
        name: as it is to be called.
        content: images or logits.
        inspect: the check of its structure, told the path and the most bytes after decoding; gives
            what the job's params have to say besides.

    Returns:
        The headers of the answer.

    Raises:
        DdcalError, InvalidDataError: it is refused; no row and no file is left of it.
    """
    limit = service.settings.max_upload_bytes
    require_media_type(request, UPLOAD_TYPES)
    require_declared_length(request, limit)
    await run_in_threadpool(_require_free_name, service, owner_id, name)
    upload = await receive_upload(request, service.settings.upload_folder, limit=limit)
    new = NewDataset(name=name, content=content, sha256=upload.sha256, n_bytes=upload.n_bytes)
    # From here on the thread owns the file: it ends whatever becomes of this request.
    intake = await run_in_threadpool(_accept, service, owner_id, upload, new, inspect)
    return {"Retry-After": str(retry_after_seconds(intake))}


def remove_upload(service: Service, owner_id: str, upload: Dataset | Logits, content: str) -> None:
    """Delete an upload and its files.

    Raises:
        ConflictError: a job that has not ended uses it.
    """
    settings = service.settings
    with service.database.write() as connection:
        intake = find_job(connection, owner_id, upload.job_id or "")
        deleted = delete_dataset(connection, owner_id, upload.name, content)
    for job_id in deleted:
        service.store.delete_job(job_id)
        (settings.log_folder / f"{job_id}.log").unlink(missing_ok=True)
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
    owner_id: str,
    upload: Upload,
    new: NewDataset,
    inspect: Callable[[Path, int], Mapping[str, Any]],
) -> Job:
    settings = service.settings
    params = {"upload": upload.path.name, "content": new.content}
    try:
        check = NewJob(
            kind=INTAKE,
            params={**params, **inspect(upload.path, settings.max_decoded_bytes)},
            dataset=new.name,
            queue=INTAKE_QUEUE,
            timeout_seconds=math.ceil(settings.intake_timeout_seconds),
            max_attempts=settings.max_attempts,
        )
        with service.database.write() as connection:
            intake = insert_job(connection, owner_id, check)
            insert_dataset(connection, owner_id, new, intake)
    except BaseException:
        upload.path.unlink(missing_ok=True)
        raise
    finally:
        upload.release()
    return intake


def _require_free_name(service: Service, owner_id: str, name: str) -> None:
    """Before its bytes travel."""
    with service.database.read() as connection:
        require_free_name(connection, owner_id, name)
