"""What `ddcal check` becomes: the database, all stored files and the running service, once.

The service verifies files by itself, a few in each round of housekeeping.
"""

import sys

from app.cli.service_check import look_at_service
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


def main() -> int:
    """Print what is damaged or degraded; 1 where something is, or the database cannot be asked."""
    settings = settings_with_database_or_exit()
    if not settings.database_url and not settings.folder.exists():
        return _complain(f"there is no data in {settings.folder}; elsewhere: --data-folder")
    database = open_database(settings)
    try:
        if _is_database_damaged(database):
            return 1
        if not is_at_head(database):
            return _complain("the database lacks migrations: run `ddcal migrate`")
        is_damaged = _is_a_file_damaged(database, settings)
        return 1 if _is_service_degraded(database, settings) or is_damaged else 0
    except UnavailableError as error:
        return _complain(str(error))
    finally:
        database.close()


def _is_database_damaged(database: Database) -> bool:
    check = check_database(database)
    for complaint in check.complaints:
        print(f"damaged: the database: {complaint}")
    if check.complaints:
        # What its rows say of the files is not to be relied on, where they can be read at all.
        print("no file was verified: the database comes first")
    else:
        print(f"the database: {check.extent}")
    return bool(check.complaints)


def _is_a_file_damaged(database: Database, settings: Settings) -> bool:
    n_files = n_bytes = n_damaged = 0
    for looked in look_at_files(database, settings):
        n_files, n_bytes = n_files + 1, n_bytes + looked.file.n_bytes
        if looked.damage is not None:
            n_damaged += 1
            print(f"damaged: {looked}")
    for words in damaged_uploads(database, settings):
        n_damaged += 1
        print(f"damaged: {words}")
    print(f"the files: {n_files:,} of {n_bytes:,} bytes; damaged: {n_damaged:,}")
    return n_damaged > 0


def _is_service_degraded(database: Database, settings: Settings) -> bool:
    wrong = look_at_service(database, settings)
    if wrong is None:
        print(f"the service: not running on {settings.folder}, so not asked")
        return False
    for words in wrong:
        print(f"degraded: {words}")
    print(f"the service: {'degraded' if wrong else 'ready'}")
    return bool(wrong)


def _complain(text: str) -> int:
    print(f"ddcal: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
