"""One service for all whole runs that do not hurt it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import Service, running_service

LIMIT_SECONDS = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs, the start of the service included, take minutes on a busy machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running `ddcal serve`."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running
