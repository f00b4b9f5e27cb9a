"""Take each mechanism away in a scratch copy, and see whether the tests notice.

    python -m tests.mutants                 # all of them
    python -m tests.mutants NAME ...        # those whose names contain one of these
    python -m tests.mutants --sample 4      # some, drawn by --seed
    python -m tests.mutants --list

The tests run on the copy as it is first: one that fails there can kill nothing. Exit status 1 if a
mutant survives.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant

TEST_SECONDS = 900
FAILED = 1  # pytest's exit status where tests ran and some failed


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [one for one in MUTANTS if _is_chosen(one, options.names)]
    if options.sample is not None:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    if options.list or not chosen:
        print(*(f"{one.name:44} {one.path}" for one in chosen), sep="\n")
        return 0 if options.list else 2
    with tempfile.TemporaryDirectory(prefix="ddcal-mutants-") as folder:
        copy = Path(folder) / "ddcal"
        _copy_sources(copy)
        return _run(chosen, copy)


def _is_chosen(mutant: Mutant, names: Sequence[str]) -> bool:
    return not names or any(name in mutant.name for name in names)


def _copy_sources(copy: Path) -> None:
    """Copy what git tracks or would track."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _run(chosen: Sequence[Mutant], copy: Path) -> int:
    killers = sorted({test for mutant in chosen for test in mutant.killed_by})
    print(f"{len(killers)} tests on the code as it is", flush=True)
    if _status_of(killers, copy) != 0:
        print("they fail without a mutant")
        return 1
    survivors = [mutant.name for mutant in chosen if not _is_killed(mutant, copy)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    for name in survivors:
        print(f"survived: {name}")
    return 1 if survivors else 0


def _is_killed(mutant: Mutant, copy: Path) -> bool:
    path, started = copy / mutant.path, time.monotonic()
    original = path.read_text()
    path.write_text(mutant.mutated(copy))
    try:
        status = _status_of(mutant.killed_by, copy)
    finally:
        path.write_text(original)
    word = "killed" if status == FAILED else f"SURVIVED (pytest's status {status})"
    print(f"{mutant.name:44} {word:10} {time.monotonic() - started:6.1f} s", flush=True)
    return status == FAILED


def _status_of(tests: Sequence[str], copy: Path) -> int:
    """Run tests of the copy; a copy of another place is never imported instead."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return FAILED  # a mutant that hangs has been noticed
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
