"""A job's progress for people: one bar on a terminal or in a notebook, plain lines elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from ddcal.records import TERMINAL_STATES, Child, JobRecord

_PLAIN_LINE_SECONDS = 10
_WIDE = 110  # columns, from which on there is room for a longer bar, and for numbers

Part = JobRecord | Child
"""What computes: a job of its own, or one of a pipeline's."""


class Estimate:
    """How long a job still takes: as the service says; else by its parts, and others like them.

    The service knows former pipelines, and says nothing while a part has no like. What the parts
    say and have taken is then a lower bound, which is what the words call it.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: set[str] = set()
        self._started: dict[str, float] = {}
        self._took: dict[str, list[float]] = {}

    def look(self, job: JobRecord) -> str:
        """Take in a job as it stands; what is left of it in words, empty where nothing is known."""
        parts = parts_of(job)
        for part in parts:
            self._note(part)
        if job.progress and job.progress.eta_seconds is not None:
            return f"about {duration(job.progress.eta_seconds)} left"
        if job.n_parts > len(job.children):  # most of a study's are not shown
            return ""
        left = [self._left(part) for part in parts if not is_done(part)]
        known = [seconds for seconds in left if seconds is not None]
        if not known:
            return ""
        how = "about" if len(known) == len(left) else "at least"
        return f"{how} {duration(sum(known))} left"

    def _note(self, part: Part) -> None:
        now = self._clock()
        if part.state == "running":
            # Of one that was running when first looked at, nobody knows since when.
            if part.id in self._waiting:
                self._started.setdefault(part.id, now)
        elif not is_done(part):
            self._waiting.add(part.id)
        elif part.id in self._started:
            took = now - self._started.pop(part.id)
            if part.state == "succeeded" and not part.reused_from:
                self._took.setdefault(part.kind, []).append(took)

    def _left(self, part: Part) -> float | None:
        if part.state == "running" and part.progress and part.progress.eta_seconds is not None:
            return part.progress.eta_seconds
        took = self._took.get(part.kind)
        if not took:
            return None
        since = self._started.get(part.id)
        so_far = 0.0 if since is None else self._clock() - since
        return max(sum(took) / len(took) - so_far, 0.0)


@dataclass
class ProgressView:
    """Shows a job while it works; a context, at whose end the last state stays.

    Attributes:
        console: where; by default stderr.
        clock: seconds that only grow.
    """

    console: Console = field(default_factory=lambda: Console(stderr=True))
    clock: Callable[[], float] = time.monotonic
    _begun: float | None = None
    _bar: Progress | None = None
    _task: TaskID | None = None
    _shown_phase: tuple[str, ...] = ()
    _shown_at: float = float("-inf")
    _estimate: Estimate = field(init=False)

    def __post_init__(self) -> None:
        """Begin to estimate."""
        self._estimate = Estimate(self.clock)

    def __enter__(self) -> Self:
        """Start the bar, where there can be one."""
        if self.console.is_terminal or self.console.is_jupyter:
            # The bar first: its place and length stay when the words behind it change.
            words = Column(no_wrap=True, overflow="ellipsis", ratio=1)
            self._bar = Progress(
                BarColumn(40 if self._is_wide else 24),
                TaskProgressColumn(),
                TextColumn("{task.description}", markup=False, table_column=words),
                console=self.console,
                expand=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cursor on a line of its own."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, job: JobRecord) -> None:
        """Show a job as it stands; of a pipeline, the whole and the part that works."""
        now = self.clock()
        if self._begun is None:
            self._begun = now
        left = self._estimate.look(job)
        if self._bar is not None and self._task is not None:
            numbers = values(active_part(job)) if self._is_wide else ""
            words = ", ".join(filter(None, [heading(job), left, numbers]))
            self._bar.update(self._task, completed=share_done(job), description=words)
            return
        active = active_part(job)
        phase = (active.id, active.state, active.progress.phase if active.progress else "")
        if phase != self._shown_phase or now - self._shown_at >= _PLAIN_LINE_SECONDS:
            self._shown_phase, self._shown_at = phase, now
            line = plain_line(job, left)
            self.console.print(
                f"{now - self._begun:6.1f} s  {line}", markup=False, highlight=False, soft_wrap=True
            )

    @property
    def _is_wide(self) -> bool:
        return self.console.width >= _WIDE


def parts_of(job: JobRecord) -> tuple[Part, ...]:
    """What of a job computes: the jobs of a pipeline, or itself."""
    return job.children or (job,)


def is_done(part: Part) -> bool:
    """Has it ended?"""
    return part.state in TERMINAL_STATES


def active_part(job: JobRecord) -> Part:
    """Which of a pipeline's jobs to show: a running one, else the next to run, else the whole."""
    for states in (("running", "cancelling"), ("queued",), ("blocked", "scheduled")):
        for child in job.children:
            if child.state in states and not _waits_for_the_rest(child, job):
                return child
    return job


def _waits_for_the_rest(child: Part, job: JobRecord) -> bool:
    """Of a study, what compares is shown all the while, and waits until the others have ended."""
    return job.n_parts > len(job.children) and child.state in ("blocked", "scheduled")


def share_done(job: JobRecord) -> float:
    """How much of a job is done, from 0 to 1: ended parts count whole, a running one by phase."""
    if job.n_parts > len(job.children):  # a study, of which some are shown
        return job.progress.fraction if job.progress else 0.0
    parts = parts_of(job)
    shares = [1.0 if is_done(part) else _fraction(part) for part in parts]
    return sum(shares) / len(shares)


def heading(job: JobRecord) -> str:
    """How far a pipeline is, which of its jobs works, and what that one does."""
    active = active_part(job)
    words = []
    if job.children:
        ended = [job.counts.get(state, 0) for state in TERMINAL_STATES]
        n_ended = sum(ended) or sum(is_done(child) for child in job.children)
        words.append(f"{n_ended}/{job.n_parts}")
    words.append(name_of(active))
    if active.state != "running" or active.progress is None:
        words.append(active.state)
    elif active.progress.phase not in name_of(active):
        words.append(active.progress.phase)
    return " ".join(filter(None, words))


def plain_line(job: JobRecord, left: str) -> str:
    """A job as it stands, in one line for a log."""
    active = active_part(job)
    doing = heading(job)
    if active.state == "running" and active.progress:
        doing += f" {active.progress.step}/{active.progress.steps}"
    return ", ".join(filter(None, [doing, left, values(active)]))


def values(part: Part) -> str:
    """The numbers worth showing of a running job, such as its loss."""
    if part.state != "running" or part.progress is None:
        return ""
    numbers = part.progress.values.items()
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers)


def name_of(part: Part) -> str:
    """Its place in a pipeline, or its kind; of an upload, what is done with it."""
    return part.role or ("check" if part.kind == "intake" else part.kind)


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _fraction(part: Part) -> float:
    return part.progress.fraction if part.progress else 0.0
