"""What `ddcal check` becomes: the database, all stored files and the running service, once.

The service verifies files by itself, a few in each round of housekeeping.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from app.service_check import look_at_service
from app.shared.errors import UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import (
    Database,
    is_at_head,
    open_database,
    settings_with_database_or_exit,
)
from app.shared.store.integrity import check_database
from app.shared.upkeep.scrubbing import damaged_uploads, look_at_files

Tell = Callable[[str], None]
"""Called with each line for people."""

_DAMAGED, _DEGRADED = "damaged: ", "degraded: "


def main(argv: Sequence[str] = ()) -> int:
    """Print what is damaged or degraded; 1 where something is, or the database cannot be asked."""
    parser = argparse.ArgumentParser(prog="python -P -m app.check")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    if not parser.parse_args(argv).json:
        return _verify(print)
    lines: list[str] = []
    status = _verify(lines.append)
    if lines:
        print(json.dumps(as_data(lines), indent=2, ensure_ascii=False))
    return status


def as_data(lines: Sequence[str]) -> dict[str, list[str]]:
    """Lines for people, by what they are: damaged, degraded, and the rest as summary."""
    return {
        "damaged": [one.removeprefix(_DAMAGED) for one in lines if one.startswith(_DAMAGED)],
        "degraded": [one.removeprefix(_DEGRADED) for one in lines if one.startswith(_DEGRADED)],
        "summary": [one for one in lines if not one.startswith((_DAMAGED, _DEGRADED))],
    }


def _verify(tell: Tell) -> int:
    settings = settings_with_database_or_exit()
    if not settings.database_url and not settings.folder.exists():
        return _complain(f"there is no data in {settings.folder}; elsewhere: --data-folder")
    database = open_database(settings)
    try:
        if _is_database_damaged(database, tell):
            return 1
        if not is_at_head(database):
            return _complain("the database lacks migrations: run `ddcal migrate`")
        is_damaged = _is_a_file_damaged(database, settings, tell)
        return 1 if _is_service_degraded(database, settings, tell) or is_damaged else 0
    except UnavailableError as error:
        return _complain(str(error))
    finally:
        database.close()


def _is_database_damaged(database: Database, tell: Tell) -> bool:
    check = check_database(database)
    for complaint in check.complaints:
        tell(f"{_DAMAGED}the database: {complaint}")
    if check.complaints:
        # What its rows say of the files is not to be relied on, where they can be read at all.
        tell("no file was verified: the database comes first")
    else:
        tell(f"the database: {check.extent}")
    return bool(check.complaints)


def _is_a_file_damaged(database: Database, settings: Settings, tell: Tell) -> bool:
    n_files = n_bytes = n_damaged = 0
    for looked in look_at_files(database, settings):
        n_files, n_bytes = n_files + 1, n_bytes + looked.file.n_bytes
        if looked.damage is not None:
            n_damaged += 1
            tell(f"{_DAMAGED}{looked}")
    for words in damaged_uploads(database, settings):
        n_damaged += 1
        tell(f"{_DAMAGED}{words}")
    tell(f"the files: {n_files:,} of {n_bytes:,} bytes; damaged: {n_damaged:,}")
    return n_damaged > 0


def _is_service_degraded(database: Database, settings: Settings, tell: Tell) -> bool:
    wrong = look_at_service(database, settings)
    if wrong is None:
        tell(f"the service: not running on {settings.folder}, so not asked")
        return False
    for words in wrong:
        tell(f"{_DEGRADED}{words}")
    tell(f"the service: {'degraded' if wrong else 'ready'}")
    return bool(wrong)


def _complain(text: str) -> int:
    print(f"ddcal: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
