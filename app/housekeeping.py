"""What `ddcal housekeeping` becomes: one round by hand, or a look at what a round would remove.

The service keeps house by itself, every `housekeeping_seconds`.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from app.shared.errors import UnavailableError
from app.shared.store.database import (
    is_at_head,
    open_database,
    settings_with_database_or_exit,
)
from app.shared.upkeep.housekeeping import Count, keep_house, look_round
from app.shared.upkeep.scrubbing import missing_files


def main(argv: Sequence[str] | None = None) -> int:
    """Print what went, or with --dry-run what would go; 1 where the database cannot be read."""
    parser = argparse.ArgumentParser(prog="python -P -m app.housekeeping")
    parser.add_argument("--dry-run", action="store_true", help="only look")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    arguments = parser.parse_args(argv)
    is_dry: bool = arguments.dry_run
    settings = settings_with_database_or_exit()
    if not settings.database_url and not settings.folder.exists():
        return _complain(f"there is no data in {settings.folder}; elsewhere: --data-folder")
    database = open_database(settings)
    try:
        if not is_at_head(database):
            return _complain("the database lacks migrations: run `ddcal migrate`")
        counts = (look_round if is_dry else keep_house)(database, settings)
        if not arguments.json:
            print("\n".join(table("would go" if is_dry else "went", counts)))
        missing = [
            f"{row.name} of {row.job_id} ({row.id})" for row in missing_files(database, settings)
        ]
    except UnavailableError as error:
        return _complain(str(error))
    finally:
        database.close()
    if arguments.json:
        gone = [{"rule": one.rule, "n": one.n, "n_bytes": one.n_bytes} for one in counts]
        print(json.dumps({"dry_run": is_dry, "counts": gone, "missing": missing}, indent=2))
        return 0
    for words in missing:
        print(f"missing: {words}; its row stays")
    return 0


def table(heading: str, counts: Sequence[Count]) -> list[str]:
    """Counts as lines of text, with their sum."""
    total = Count(
        rule="all",
        n=sum(count.n for count in counts),
        n_bytes=sum(count.n_bytes for count in counts),
    )
    lines = [f"{heading:<40} {'count':>8} {'bytes':>18}"]
    return lines + [
        f"{count.rule:<40} {count.n:>8,} {count.n_bytes:>18,}" for count in (*counts, total)
    ]


def _complain(text: str) -> int:
    print(f"ddcal: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
