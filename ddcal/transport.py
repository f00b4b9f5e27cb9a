"""Carries out the steps of a conversation over HTTP: one class waits, the other awaits."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from ddcal.conversations import Manners
from ddcal.steps import Ask, Emit, Fetch, Pause, Step, Steps, T

CHUNK_BYTES = 1 << 20


def http_options(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    """What httpx is told of a service.

    A proxy set for the web has no business with a service on loopback. Redirects are not followed:
    the key is for this service alone.
    """
    headers = {"Accept": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return {
        "base_url": url,
        "headers": headers,
        "timeout": timeout,
        "trust_env": False,
        "follow_redirects": False,
    }


@dataclass(frozen=True)
class Transport:
    """Carries steps out and waits for each.

    Attributes:
        http: sends the requests.
        manners: how often requests are sent again.
        sleep: called for pauses.
    """

    http: httpx.Client
    manners: Manners
    sleep: Callable[[float], None] = field(default=time.sleep)

    def run(self, steps: Steps[T]) -> T:
        """What a conversation returns."""
        step = _first(steps)
        while not isinstance(step, _Return):
            step = self._after(steps, step)
        value: T = step.value
        return value

    def iterate(self, steps: Steps[None]) -> Iterator[Any]:
        """What a conversation emits, as it comes."""
        step = _first(steps)
        while not isinstance(step, _Return):
            if isinstance(step, Emit):
                yield step.item
            step = self._after(steps, step)

    def _after(self, steps: Steps[Any], step: Step) -> "Step | _Return":
        """Carry a step out; the conversation's next, or its end."""
        try:
            answer = self._do(step)
        except httpx.HTTPError as error:
            return _after_error(steps, error)
        return _after(steps, answer)

    def _do(self, step: Step) -> Any:  # noqa: ANN401 -- as many kinds of answers as of steps
        match step:
            case Pause():
                return self.sleep(step.seconds)
            case Fetch():
                return self._fetch(step)
            case Ask(content=Path() as path):
                # Opened anew each time: a body that was cut off is sent again from its start.
                with path.open("rb") as file:
                    return self.http.send(_request(self.http, step, iter(_chunks(file))))
            case Ask():
                return self.http.send(_request(self.http, step, _bytes(step)))
            case Emit():
                return None

    def _fetch(self, fetch: Fetch) -> tuple[httpx.Response, str]:
        response = self.http.send(_request(self.http, fetch.ask, None), stream=True)
        try:
            if not response.is_success:
                response.read()
                return response, ""
            digest = hashlib.sha256()
            with fetch.file.open("wb") as file:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            return response, digest.hexdigest()
        finally:
            response.close()


@dataclass(frozen=True)
class AsyncTransport:
    """As `Transport`, awaiting each step.

    Attributes:
        http: sends the requests.
        manners: how often requests are sent again.
        sleep: awaited for pauses.
    """

    http: httpx.AsyncClient
    manners: Manners
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)

    async def run(self, steps: Steps[T]) -> T:
        """What a conversation returns."""
        step = _first(steps)
        while not isinstance(step, _Return):
            step = await self._after(steps, step)
        value: T = step.value
        return value

    async def iterate(self, steps: Steps[None]) -> AsyncIterator[Any]:
        """What a conversation emits, as it comes."""
        step = _first(steps)
        while not isinstance(step, _Return):
            if isinstance(step, Emit):
                yield step.item
            step = await self._after(steps, step)

    async def _after(self, steps: Steps[Any], step: Step) -> "Step | _Return":
        """Carry a step out; the conversation's next, or its end."""
        try:
            answer = await self._do(step)
        except httpx.HTTPError as error:
            return _after_error(steps, error)
        return _after(steps, answer)

    async def _do(self, step: Step) -> Any:  # noqa: ANN401 -- as many kinds of answers as of steps
        match step:
            case Pause():
                return await self.sleep(step.seconds)
            case Fetch():
                return await self._fetch(step)
            case Ask(content=Path() as path):
                with path.open("rb") as file:
                    return await self.http.send(_request(self.http, step, _async_chunks(file)))
            case Ask():
                return await self.http.send(_request(self.http, step, _bytes(step)))
            case Emit():
                return None

    async def _fetch(self, fetch: Fetch) -> tuple[httpx.Response, str]:
        response = await self.http.send(_request(self.http, fetch.ask, None), stream=True)
        try:
            if not response.is_success:
                await response.aread()
                return response, ""
            digest = hashlib.sha256()
            with fetch.file.open("wb") as file:
                async for chunk in response.aiter_bytes(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            return response, digest.hexdigest()
        finally:
            await response.aclose()


@dataclass(frozen=True)
class _Return:
    """A conversation is over."""

    value: Any


def _first(steps: Steps[Any]) -> Step | _Return:
    return _after(steps, None)


def _after(steps: Steps[Any], answer: object) -> Step | _Return:
    try:
        return steps.send(answer)
    except StopIteration as end:
        return _Return(end.value)


def _after_error(steps: Steps[Any], error: httpx.HTTPError) -> Step | _Return:
    try:
        return steps.throw(error)
    except StopIteration as end:
        return _Return(end.value)


def _request(
    http: httpx.Client | httpx.AsyncClient,
    ask: Ask,
    content: bytes | Iterator[bytes] | AsyncIterator[bytes] | None,
) -> httpx.Request:
    own = http.timeout
    # The service holds such a request; None waits for ever anyway.
    read = None if own.read is None else own.read + ask.wait_seconds
    timeout = httpx.Timeout(connect=own.connect, read=read, write=own.write, pool=own.pool)
    return http.build_request(
        ask.method,
        ask.path,
        params=dict(ask.query),
        headers=dict(ask.headers),
        content=content,
        timeout=timeout,
    )


def _bytes(ask: Ask) -> bytes | None:
    return None if isinstance(ask.content, Path) else ask.content


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


async def _async_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk
