"""What endpoints are given: the service's parts, the owner, and checked ids."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from app.api.http.access import Access
from app.api.http.event_reader import EventReader
from app.api.http.shared_transactions import SharedTransactions
from app.shared.errors import NotFoundError
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.database import Database

_ID_TAIL = re.compile(r"[0-9a-z]{26}")


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts of a running API process.

    Attributes:
        access: who may come in.
        reads: for what is read most.
        writes: for what is written most.
        registry: of what /metrics tells.
    """

    settings: Settings
    access: Access
    database: Database
    store: ArtifactStore
    reader: EventReader
    reads: SharedTransactions
    writes: SharedTransactions
    registry: CollectorRegistry


# Both are async although they wait for nothing: FastAPI runs plain ones in a thread.
async def service_of(request: Request) -> Service:
    """The service that the application was started with."""
    service: Service = request.app.state.service
    return service


async def current_owner(request: Request) -> str:
    """Whose request this is, as the middleware has found."""
    owner_id: str = request.state.owner_id
    return owner_id


# What is asked most calls the two itself: each parameter of FastAPI's costs a tenth of a request.
ServiceDep = Annotated[Service, Depends(service_of)]
OwnerDep = Annotated[str, Depends(current_owner)]


def checked_id(prefix: str, value: str) -> str:
    """An id from a path, well-formed before any query sees it.

    Raises:
        NotFoundError: it cannot be the id of anything.
    """
    head, _, tail = value.partition("_")
    if head != prefix or not _ID_TAIL.fullmatch(tail):
        raise NotFoundError("not_found", f"there is nothing at this address: ids are {prefix}_...")
    return value
