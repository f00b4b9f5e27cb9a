"""What `ddcal check` becomes: database, stored files, confinement, the running service, once.

The service verifies files by itself, a few in each round of housekeeping.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from app.service_check import look_at_service
from app.shared.settings import Settings
from app.shared.store.database import Database, require_head, run_by_hand
from app.shared.store.integrity import check_database
from app.shared.upkeep.confinement import not_kept_from
from app.shared.upkeep.scrubbing import damaged_uploads, look_at_files

Kind = Literal["damaged", "degraded", "summary"]
Tell = Callable[[Kind, str], None]
"""Called with each thing found: what it is, and its words."""


def main(argv: Sequence[str] = ()) -> int:
    """Print what is damaged or degraded; 1 where something is, or the database cannot be asked."""
    parser = argparse.ArgumentParser(prog="python -P -m app.check")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    if not parser.parse_args(argv).json:
        return run_by_hand(partial(_verify, tell=_print_line))
    found: dict[Kind, list[str]] = {"damaged": [], "degraded": [], "summary": []}
    status = run_by_hand(partial(_verify, tell=lambda kind, words: found[kind].append(words)))
    if any(found.values()):
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return status


def _print_line(kind: Kind, words: str) -> None:
    print(words if kind == "summary" else f"{kind}: {words}")


def _verify(database: Database, settings: Settings, *, tell: Tell) -> int:
    if _is_database_damaged(database, tell):
        return 1
    require_head(database)
    is_damaged = _is_a_file_damaged(database, settings, tell)
    _tell_confinement(settings, tell)
    return 1 if _is_service_degraded(database, settings, tell) or is_damaged else 0


def _is_database_damaged(database: Database, tell: Tell) -> bool:
    check = check_database(database)
    for complaint in check.complaints:
        tell("damaged", f"the database: {complaint}")
    if check.complaints:
        # What its rows say of the files is not to be relied on, where they can be read at all.
        tell("summary", "no file was verified: the database comes first")
    else:
        tell("summary", f"the database: {check.extent}")
    return bool(check.complaints)


def _is_a_file_damaged(database: Database, settings: Settings, tell: Tell) -> bool:
    n_files = n_bytes = n_damaged = 0
    for looked in look_at_files(database, settings):
        n_files, n_bytes = n_files + 1, n_bytes + looked.file.n_bytes
        if looked.damage is not None:
            n_damaged += 1
            tell("damaged", str(looked))
    for words in damaged_uploads(database, settings):
        n_damaged += 1
        tell("damaged", words)
    tell("summary", f"the files: {n_files:,} of {n_bytes:,} bytes; damaged: {n_damaged:,}")
    return n_damaged > 0


def _tell_confinement(settings: Settings, tell: Tell) -> None:
    left = not_kept_from(settings)
    words = f"not kept from {'; '.join(left)}" if left else "each is confined to its own files"
    tell("summary", f"the jobs of this machine: {words}")


def _is_service_degraded(database: Database, settings: Settings, tell: Tell) -> bool:
    wrong = look_at_service(database, settings)
    if wrong is None:
        tell("summary", f"the service: not running on {settings.folder}, so not asked")
        return False
    for words in wrong:
        tell("degraded", words)
    tell("summary", f"the service: {'degraded' if wrong else 'ready'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
