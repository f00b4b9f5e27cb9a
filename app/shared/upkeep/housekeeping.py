"""Housekeeping: rounds in which what nobody will read again goes; waste.py has the rules.

Any number of copies may keep house at once. What of the rest is damaged: see scrubbing.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from app.shared.settings import Settings
from app.shared.store.database import Database
from app.shared.upkeep.waste import Waste, waste_by_rule

logger = logging.getLogger(__name__)

MOST_OF_A_RULE = 2000


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
        gone: list[Waste] = []
        try:
            gone.extend(waste for waste in some if _is_removed(waste))
        except OSError as error:  # what follows by this rule waits for the disk, other rules do not
            logger.warning("%s: no more can be found: %s", rule, error)
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


def _count(rule: str, found: Sequence[Waste]) -> Count:
    n_bytes = sum(waste.n_bytes for waste in found)
    return Count(rule=rule, n=sum(waste.n for waste in found), n_bytes=n_bytes)


def _is_removed(waste: Waste) -> bool:
    try:
        return waste.remove()
    except FileNotFoundError:  # another copy was faster
        return False
    except OSError as error:
        logger.warning("%s cannot be removed: %s", waste.name, error)
        return False
