"""What `ddcal housekeeping` becomes: one round by hand, or a look at what a round would remove.

The service keeps house by itself, every `housekeeping_seconds`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial

from app.shared.settings import Settings
from app.shared.store.database import Database, require_head, run_by_hand
from app.shared.upkeep.housekeeping import Count, keep_house, look_round
from app.shared.upkeep.scrubbing import missing_files


def main(argv: Sequence[str] | None = None) -> int:
    """Print what went, or with --dry-run what would go; 1 where the database cannot be read."""
    parser = argparse.ArgumentParser(prog="python -P -m app.housekeeping")
    parser.add_argument("--dry-run", action="store_true", help="only look")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    arguments = parser.parse_args(argv)
    return run_by_hand(partial(_keep_house, is_dry=arguments.dry_run, as_json=arguments.json))


def _keep_house(database: Database, settings: Settings, *, is_dry: bool, as_json: bool) -> int:
    require_head(database)
    counts = (look_round if is_dry else keep_house)(database, settings)
    if not as_json:
        print("\n".join(table("would go" if is_dry else "went", counts)))
    missing = [
        f"{row.name} of {row.job_id} ({row.id})" for row in missing_files(database, settings)
    ]
    if as_json:
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


if __name__ == "__main__":
    sys.exit(main())
