"""Programs that are kept running: started again when they die or hang, stopped in order."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.embedded.children import spawn, wait_or_kill
from app.embedded.signs import Sign, Watch
from app.shared.json_logs import for_people

STOP_SECONDS = 5
"""From asking a program to end to killing it, where it says nothing else."""

_FIRST_BACKOFF_SECONDS = 0.25
_LONGEST_BACKOFF_SECONDS = 30
_HEALTHY_SECONDS = 30
_HOPELESS_FAILURES = 5
_LOG_TAIL_LINES = 15
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # by somebody, not by what it has met

Tell = Callable[[str], None]
"""Called with each line for people."""


class EmbeddedError(Exception):
    """The embedded service cannot start."""


@dataclass(frozen=True)
class Program:
    """One program that serve keeps running.

    Attributes:
        name: of the program, and of its log file service-NAME.log.
        argv: its command line.
        environment: its whole environment.
        log_path: where its output goes.
        pass_fds: file descriptors it inherits.
        stop_seconds: from asking it to end to killing it.
        signs: by which it shows that it does not hang; each is asked for.
        hang_seconds: without one of them for so long it is killed and started again.
        mend: what may keep it from starting is put away; gives a line for people, or None where
            there was nothing.
    """

    name: str
    argv: tuple[str | Path, ...]
    environment: Mapping[str, str]
    log_path: Path
    pass_fds: tuple[int, ...] = ()
    stop_seconds: float = STOP_SECONDS
    signs: tuple[Sign, ...] = ()
    hang_seconds: float = 60
    mend: Callable[[], str | None] = field(default=lambda: None)


@dataclass
class Kept:
    """A program with its process of the moment, and how its restarts have gone."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    watch: Watch
    n_failures: int = 0
    start_again: float | None = field(default=None)
    has_worked: bool = False


def backoff_seconds(n_failures: int) -> float:
    """Wait before the n-th start in a row after a failure: a quarter second, doubling to 30."""
    # The exponent is bounded: 0.25 * 2 ** 10_000 is no float.
    doubled: float = _FIRST_BACKOFF_SECONDS * 2 ** min(n_failures - 1, 20)
    return min(doubled, _LONGEST_BACKOFF_SECONDS)


def start(program: Program) -> Kept:
    """Start a program; from the main thread, or it dies with the thread that did."""
    return Kept(program, start_process(program), time.monotonic(), _watch(program))


def start_process(program: Program) -> subprocess.Popen[bytes]:
    """Start a program's process, in a session of its own."""
    return spawn(
        program.argv,
        log_path=program.log_path,
        environment=program.environment,
        folder=program.log_path.parent,
        pass_fds=program.pass_fds,
    )


def look_after(kept: Kept, tell: Tell) -> None:
    """Notice that a program has died, or kill one that hangs; start it again after its backoff.

    Raises:
        EmbeddedError: it has never stayed up, and has died five times in a row: something is
            wrong with the installation that no restart mends.
    """
    now = time.monotonic()
    if kept.start_again is None:
        missing = kept.watch.missing
        if kept.process.poll() is None and missing is None:
            return
        if kept.process.poll() is None:
            limit = f"{kept.program.hang_seconds:g} s"
            tell(f"{kept.program.name} hangs, {missing} missing for {limit}: killing it")
        # What the dead leader left of its session would work beside its successor.
        status = wait_or_kill(kept.process, deadline=now)
        kept.watch.stop()
        if not kept.watch.has_lived and status not in _KILLED:
            mended = kept.program.mend()
            if mended is not None:
                tell(mended)
        stayed_up = now - kept.started > _HEALTHY_SECONDS
        kept.has_worked |= stayed_up
        kept.n_failures = 1 if stayed_up else kept.n_failures + 1
        if kept.n_failures >= _HOPELESS_FAILURES and not kept.has_worked:
            last_words = log_tail(kept.program.log_path)
            raise EmbeddedError(f"{kept.program.name} does not stay up\n{last_words}")
        pause = backoff_seconds(kept.n_failures)
        kept.start_again = now + pause
        tell(f"{kept.program.name} ended with status {status}, starting it again in {pause:g} s")
        tell(log_tail(kept.program.log_path))
    elif now >= kept.start_again:
        kept.process, kept.watch = start_process(kept.program), _watch(kept.program)
        kept.started, kept.start_again = now, None


def _watch(program: Program) -> Watch:
    return Watch(program.signs, program.hang_seconds)


def log_tail(path: Path) -> str:
    """The last lines of a log, for people."""
    lines = path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    lines = [part for line in lines for part in for_people(line).splitlines()]
    return "\n".join([f"  last lines of {path}:", *(f"  | {line}" for line in lines)])


def stop_in_order(groups: Sequence[Sequence[Kept]]) -> None:
    """Stop the programs of one group side by side, then those of the next."""
    for kept in (one for group in groups for one in group):
        kept.watch.stop()
    for group in groups:
        begun = time.monotonic()
        for kept in group:
            if kept.process.poll() is None:
                kept.process.send_signal(signal.SIGTERM)
        for kept in group:
            wait_or_kill(kept.process, deadline=begun + kept.program.stop_seconds)
