"""`python -m tests.chaos --database sqlite|postgresql --seed N --seconds S`: one chaos run.

Prints what was done and what was found; exit status 1 if an invariant is broken.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.driver import run
from tests.chaos.safeguards import FENCE, LEASES


def main() -> int:
    """Run, print, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", type=Path, help="keep everything here; default: nowhere")
    without = parser.add_mutually_exclusive_group()
    without.add_argument("--without-fence", dest="without", action="store_const", const=FENCE)
    without.add_argument("--ignore-leases", dest="without", action="store_const", const=LEASES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(
            folder, asked.database, seed=asked.seed, seconds=asked.seconds, without=asked.without
        )
    print(f"seed {asked.seed}, {asked.database}, {asked.seconds:g} s of faults")
    for name in ("jobs", "attempts", "faults", "clients"):
        counts = dict(sorted(getattr(outcome, name).items()))
        print(f"{name}: {sum(counts.values())}: {counts}")
    print(f"quiet after {outcome.quiet_seconds:.1f} s")
    for name, rows in outcome.violations.items():
        print(f"BROKEN: {name}: {len(rows)} rows")
        for row in rows[:5]:
            print(f"    {row}")
    if not outcome.violations:
        print("all invariants hold")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
