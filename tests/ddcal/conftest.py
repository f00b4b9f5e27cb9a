"""What tests of the client share: the real API on loopback, and connections that fail."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.shared.settings import Settings
from ddcal.client import Client
from tests.api.serving import Api, running_api

KEY = "a-key-that-clients-have-to-show"


@pytest.fixture
def api(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Api]:
    """A fresh service of its own."""
    database = tmp_path / "ddcal.sqlite"
    database.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(data_folder=tmp_path / "data", database_url=f"sqlite:///{database}")
    with running_api(settings) as api:
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    """A client of that service."""
    with Client(url_of(api)) as client:
        yield client


@pytest.fixture
def keyed_api(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Api]:
    """A service that wants KEY; the client it comes with has none."""
    database = tmp_path / "keyed.sqlite"
    database.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(
        data_folder=tmp_path / "keyed", database_url=f"sqlite:///{database}", api_key=KEY
    )
    with running_api(settings) as api:
        yield api


def url_of(api: Api) -> str:
    """Where a service listens."""
    return str(api.client.base_url).rstrip("/")


class FailingTransport(httpx.BaseTransport):
    """The way to a real service, on which the first tries fail as given.

    Attributes:
        failures: of one try each: an error to raise, or a response in place of the service's;
            "lost" sends the request and loses the answer.
        seen: headers and bodies of all tries.
    """

    def __init__(self, *failures: Exception | httpx.Response | str) -> None:
        """Fail so often, then no more."""
        self.failures = list(failures)
        self.seen: list[tuple[httpx.Headers, bytes]] = []
        self._real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Fail, or pass the request on."""
        body = request.read()
        self.seen.append((request.headers, body))
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        if isinstance(failure, httpx.Response):
            return failure
        response = self._real.handle_request(
            httpx.Request(request.method, request.url, headers=request.headers, content=body)
        )
        if failure == "lost":
            response.close()
            raise httpx.ReadError("connection reset", request=request)
        return response

    def close(self) -> None:
        """Close the way."""
        self._real.close()
