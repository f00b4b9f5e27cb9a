"""What endpoints are given: the service's parts, the owner, and checked ids."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

from app.api.event_stream import EventReader
from app.api.request_meter import RequestMeter
from app.shared.artifacts import ArtifactStore
from app.shared.catalog import LOCAL_OWNER
from app.shared.database import Database
from app.shared.errors import NotFoundError
from app.shared.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

_ID_TAIL = re.compile(r"[0-9a-z]{26}")


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts of a running API process."""

    settings: Settings
    database: Database
    store: ArtifactStore
    reader: EventReader
    meter: RequestMeter
    threads: Executor

    async def in_thread(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Do what waits for the database away from the event loop.

        For what is asked most: it costs half of what the framework's own way into a thread does.
        """
        told = partial(copy_context().run, work, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self.threads, told)


async def service_of(request: Request) -> Service:
    """The service that the application was started with."""
    service: Service = request.app.state.service
    return service


async def current_owner() -> str:
    """Whose request this is: the one owner there is until there are accounts."""
    return LOCAL_OWNER


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
