"""What tests of the API share: it runs for real, on either kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.shared.settings import Settings
from tests.api.serving import Api, running_api


@pytest.fixture
def api(migrated_url: str, tmp_path: Path) -> Iterator[Api]:
    """A fresh service; each test that asks runs on SQLite and on PostgreSQL."""
    with running_api(Settings(data_folder=tmp_path / "data", database_url=migrated_url)) as api:
        yield api


@pytest.fixture(scope="module")
def shared_api(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One service for a file of tests that write nothing, or do not mind what others wrote."""
    folder = tmp_path_factory.mktemp("shared")
    database = folder / "ddcal.sqlite"
    database.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(data_folder=folder / "data", database_url=f"sqlite:///{database}")
    with running_api(settings) as api:
        yield api
