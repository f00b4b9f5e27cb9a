"""Housekeeping: rounds in which what nobody will read again goes; waste.py has the rules.

Any number of copies may keep house at once. Rows whose file is missing are told of and never
deleted: somebody may have the file.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

from sqlalchemy import Row, select

from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.database import Database
from app.shared.store.tables import artifacts
from app.shared.upkeep.waste import Waste, waste_by_rule

logger = logging.getLogger(__name__)

MOST_OF_A_RULE = 2000
_BATCH = 500
_FILE_COLUMNS = tuple(artifacts.c[name] for name in ("id", "job_id", "name", "sha256"))


@dataclass(frozen=True, kw_only=True)
class Count:
    """What came of one rule."""

    rule: str
    n: int
    n_bytes: int


def keep_house(
    database: Database, settings: Settings, *, is_stopping: Callable[[], bool] = lambda: False
) -> list[Count]:
    """One round: removes of each rule what it finds, up to a bound; tells what went."""
    counts = []
    for rule, found in waste_by_rule(database, settings).items():
        some = takewhile(lambda _: not is_stopping(), islice(found, MOST_OF_A_RULE))
        gone = [waste for waste in some if _is_removed(waste)]
        counts.append(_count(rule, gone))
        if gone:
            logger.info("%s: %d gone, %d bytes", rule, counts[-1].n, counts[-1].n_bytes)
    return counts


def look_round(database: Database, settings: Settings) -> list[Count]:
    """What one round of `keep_house` would find to go."""
    return [
        _count(rule, list(islice(found, MOST_OF_A_RULE)))
        for rule, found in waste_by_rule(database, settings).items()
    ]


def missing_files(
    database: Database, settings: Settings, *, is_stopping: Callable[[], bool] = lambda: False
) -> Iterator[Row[Any]]:
    """Rows of artifacts whose file is not there."""
    store, last = ArtifactStore(settings.artifact_folder), ""
    columns = select(*_FILE_COLUMNS)
    while not is_stopping():
        # A page at a time: no transaction lasts while files are looked for.
        page = columns.where(artifacts.c.id > last).order_by(artifacts.c.id).limit(_BATCH)
        with database.read() as connection:
            rows = connection.execute(page).all()
        missing = [row for row in rows if not store.path(row.job_id, row.sha256).exists()]
        # A job's rows go before its files do: who is still there now has really lost its file.
        with database.read() as connection:
            ids = artifacts.c.id.in_([row.id for row in missing])
            still_there = set(connection.execute(select(artifacts.c.id).where(ids)).scalars())
        yield from (row for row in missing if row.id in still_there)
        if len(rows) < _BATCH:
            return
        last = rows[-1].id


def _count(rule: str, found: Sequence[Waste]) -> Count:
    n_bytes = sum(waste.n_bytes for waste in found)
    return Count(rule=rule, n=sum(waste.n for waste in found), n_bytes=n_bytes)


def _is_removed(waste: Waste) -> bool:
    with contextlib.suppress(FileNotFoundError):  # another copy was faster
        return waste.remove()
    return False
