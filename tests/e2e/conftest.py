"""One service for all whole runs that do not hurt it."""

from collections.abc import Iterator

import pytest

from tests.services import Service, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running `ddcal serve`."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running
