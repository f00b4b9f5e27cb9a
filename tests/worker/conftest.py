"""A supervisor with trainers of all moods, on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.shared.settings import Settings
from app.shared.store.database import open_database
from tests.worker.supervised import Bench


@pytest.fixture
def bench(migrated_url: str, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes benches; whatever trainer they leave is killed."""
    made: list[Bench] = []

    def make(*moods: str, **settings: Any) -> Bench:
        quick = {"heartbeat_seconds": 0.05, "lease_seconds": 60, "retry_seconds": 0, **settings}
        chosen = Settings(data_folder=tmp_path / "data", database_url=migrated_url, **quick)
        made.append(Bench(open_database(chosen), chosen, list(moods)))
        return made[-1]

    yield make
    for bench in made:
        for trainer in bench.started:
            trainer.end(0)
        bench.database.close()
