"""Take each mechanism away in a scratch copy, and see whether the tests notice.

    python -m tests.mutants                 # all of them: two hours on a busy machine
    python -m tests.mutants NAME ...        # those whose names contain one of these
    python -m tests.mutants --sample 4      # some of the quick ones, drawn by --seed
    python -m tests.mutants --copies 2      # two at a time, each in a scratch copy of its own
    python -m tests.mutants --list

The tests run on the copy as it is first: one that fails there can kill nothing. Exit status 1 if a
mutant survives.
"""

import argparse
import itertools
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant

ALL_SECONDS = 3600
QUICK_SECONDS = (
    120  # for each test of a mutant that is not slow, where it hangs without its mechanism
)
FAILED = 1  # pytest's exit status where tests ran and some failed
REASON = re.compile(r"^(?:FAILED|ERROR) \S+ - (.*)$", re.MULTILINE)

AskedT = TypeVar("AskedT")
ResultT = TypeVar("ResultT")
_versions = itertools.count(1)


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [one for one in MUTANTS if _is_chosen(one, options.names)]
    if options.sample is not None:
        chosen = sample(chosen, options.sample, options.seed)
    if options.list or not chosen:
        print(*(f"{one.name:50} {one.path}" for one in chosen), sep="\n")
        return 0 if options.list else 2
    with tempfile.TemporaryDirectory(prefix="ddcal-mutants-") as folder:
        copies = [Path(folder) / f"ddcal-{k}" for k in range(options.copies)]
        for copy in copies:
            _copy_sources(copy)
        return 1 if survivors(chosen, copies) else 0


def sample(mutants: Sequence[Mutant], n: int, seed: str) -> list[Mutant]:
    """So many of those that are not slow, another choice for each seed."""
    quick = [one for one in mutants if not one.is_slow]
    return random.Random(seed).sample(quick, min(n, len(quick)))


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


def survivors(chosen: Sequence[Mutant], copies: Sequence[Path]) -> list[str]:
    """Try mutants in copies of the sources, which are as they were afterwards; names those alive.

    Args:
        chosen: the mutants.
        copies: one mutant at a time is tried in each.

    Raises:
        SystemExit: a test that is to kill one fails without it.
    """
    started = time.monotonic()
    killers = sorted({test for mutant in chosen for test in mutant.killed_by})
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)
    with ThreadPoolExecutor(len(copies)) as pool:
        shares = [killers[k :: len(copies)] for k in range(len(copies))]
        results = list(pool.map(lambda tests: _in_a_copy(_test, tests, free), filter(None, shares)))
        print(f"{len(killers)} tests of the code as it is: {_since(started)}", flush=True)
        for status, output in results:
            if status != 0:
                sys.exit(f"{output}\nthey fail without a mutant")
        killed = pool.map(lambda mutant: _in_a_copy(_is_killed, mutant, free), chosen)
        alive = [mutant.name for mutant, is_dead in zip(chosen, killed, strict=True) if not is_dead]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mutants killed: {_since(started)}")
    print(*(f"survived: {name}" for name in alive), sep="\n", end="\n" if alive else "")
    return alive


def _in_a_copy(
    act: Callable[[AskedT, Path], ResultT], asked: AskedT, free: queue.SimpleQueue[Path]
) -> ResultT:
    copy = free.get()
    try:
        return act(asked, copy)
    finally:
        free.put(copy)


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"


def _is_killed(mutant: Mutant, copy: Path) -> bool:
    path, started = copy / mutant.path, time.monotonic()
    original = path.read_text()
    _write(path, mutant.mutated(copy))
    try:
        status, output = _test([*_options(mutant), *mutant.killed_by], copy)
    finally:
        _write(path, original)
    word = "killed" if status == FAILED else "SURVIVED"
    reason = REASON.search(output) if status == FAILED else None
    why = reason[1] if reason else output.strip().rpartition("\n")[2]
    print(f"{mutant.name:50} {word:8} {_since(started):>8}  {why:.90}", flush=True)
    return status == FAILED


def _options(mutant: Mutant) -> tuple[str, ...]:
    return ("-x",) if mutant.is_slow else ("-x", f"--timeout={QUICK_SECONDS}")


def _write(path: Path, text: str) -> None:
    """Write a source with a time of its own, by which Python finds its old bytecode stale."""
    path.write_text(text)
    os.utime(path, (next(_versions), next(_versions)))


def _test(arguments: Sequence[str], copy: Path) -> tuple[int, str]:
    """Run tests of the copy, never of another place; gives pytest's status and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    with subprocess.Popen(
        [*command, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            output, _ = running.communicate(timeout=ALL_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            return FAILED, "no end"  # a mutant that hangs has been noticed
    return running.returncode, output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
