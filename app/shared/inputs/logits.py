"""Uploaded logits of models made elsewhere, read; `datasets` writes and deletes them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.shared.errors import NotFoundError
from app.shared.inputs.datasets import LOGITS, UploadState, uploads_of
from app.shared.store.descriptions import EVERYTHING, Search, found_by
from app.shared.store.tables import datasets
from ddcal_core.specs.logits import LogitsFacts


@dataclass(frozen=True, kw_only=True)
class Logits:
    """Uploaded logits with their labels.

    Attributes:
        state: checking, ready or rejected.
        facts: known once they are ready.
        problem: why they were rejected: code and detail.
        job_id: the job that checks them.
    """

    id: str
    name: str
    state: UploadState
    facts: LogitsFacts | None
    problem: dict[str, Any] | None
    job_id: str
    sha256: str
    n_bytes: int
    created_at: datetime
    tags: dict[str, str] | None
    notes: str | None


def find_logits(connection: Connection, owner_id: str, name: str) -> Logits:
    """Logits the owner has uploaded.

    Raises:
        NotFoundError: there are none of that name, or they are another owner's.
    """
    row = connection.execute(uploads_of(owner_id, LOGITS, name)).one_or_none()
    if row is None:
        raise NotFoundError("logits_not_found", f"there are no logits {name!r}")
    return _logits(row)


def list_logits(connection: Connection, owner_id: str, search: Search = EVERYTHING) -> list[Logits]:
    """The owner's uploads of logits, by name."""
    found = uploads_of(owner_id, LOGITS).where(
        *found_by(connection, owner_id, datasets, "data", search)
    )
    return [_logits(row) for row in connection.execute(found)]


def _logits(row: Row[Any]) -> Logits:
    return Logits(
        id=row.id,
        name=row.name,
        state=row.state,
        facts=None if row.facts is None else LogitsFacts.model_validate(row.facts, strict=False),
        problem=row.problem,
        job_id=row.job_id,
        sha256=row.sha256,
        n_bytes=row.n_bytes,
        created_at=row.created_at,
        tags=row.tags,
        notes=row.notes,
    )
