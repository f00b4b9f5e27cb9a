"""What the command line shows: a job's progress, and a report's table."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from ddcal.client import TERMINAL_STATES, Client

Json = Mapping[str, Any]

_BAR_CELLS = 24
_PLAIN_LINE_SECONDS = 10


@dataclass
class ProgressView:
    """Shows a job while it works: one bar that moves on a terminal, plain lines elsewhere."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _begun: float | None = None
    _shown: str = ""
    _shown_phase: tuple[str, ...] = ()
    _shown_at: float = float("-inf")

    def show(self, job: Json) -> None:
        """Show a job as it stands; of a pipeline, the child that works."""
        now = self.clock()
        if self._begun is None:
            self._begun = now
        active = active_job(job)
        line = progress_line(active, job["children"])
        if self.stream.isatty():
            self._redraw(line)
            return
        progress = active["progress"]
        phase = (active["id"], active["state"], progress["phase"] if progress else "")
        if phase != self._shown_phase or now - self._shown_at >= _PLAIN_LINE_SECONDS:
            self._shown_phase, self._shown_at = phase, now
            print(f"{now - self._begun:6.1f} s  {line}", file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._shown:
            print(file=self.stream, flush=True)
            self._shown = ""

    def _redraw(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        padded = line[:width].ljust(min(len(self._shown), width))
        print(f"\r{padded}", end="", file=self.stream, flush=True)
        self._shown = line[:width]


def progress_line(active: Json, children: Sequence[Json]) -> str:
    """How far a pipeline is, which of its jobs works, and how far that one is."""
    name = active["role"] or active["kind"]
    parts = []
    if children:
        n_ended = sum(child["state"] in TERMINAL_STATES for child in children)
        parts.append(f"[{n_ended}/{len(children)}]")
    progress = active["progress"]
    if active["state"] != "running" or progress is None:
        return " ".join([*parts, name, str(active["state"])])
    step, steps = int(progress["step"]), int(progress["steps"])
    phase = str(progress["phase"])
    parts += [name, phase if phase != name else "", bar(step, steps), f"{step}/{steps}"]
    if progress["eta_seconds"] is not None:
        parts.append(f"about {duration(progress['eta_seconds'])} left")
    parts += [f"{key} {value:.4g}" for key, value in progress["values"].items()]
    return " ".join(part for part in parts if part)


def active_job(job: Json) -> Json:
    """Which of a pipeline's jobs to show: a running one, else the next to run, else the last."""
    children: list[Json] = job["children"]
    for states in (("running", "cancelling"), ("queued",), ("blocked", "scheduled")):
        for child in children:
            if child["state"] in states:
                return child
    return job


def bar(step: int, steps: int) -> str:
    """A bar filled to step / steps."""
    filled = round(_BAR_CELLS * min(max(step / steps, 0), 1)) if steps else 0
    return "█" * filled + "░" * (_BAR_CELLS - filled)


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned left, as wide as their widest cell, a rule below the header.

    Args:
        header: the columns' names.
        rows: as many cells each; a row of one cell is a heading for those below it.
    """
    full_rows = [row for row in rows if len(row) > 1]
    widths = [max(len(row[k]) for row in (header, *full_rows)) for k in range(len(header))]
    lines = [header, ["─" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def watch(client: Client, job_id: str) -> Json:
    """Show a job until it has ended, then say how; the job as it ended."""
    view = ProgressView()
    try:
        for job in client.watch(job_id):
            view.show(job)
    finally:
        view.close()
    print(f"{job_id} {job['state']}", file=sys.stderr)
    failed = [client.job(child["id"]) for child in job["children"] if child["state"] == "failed"]
    for one in (job, *failed):
        if one["error"]:
            print(f"  {one['role'] or one['kind']}: {failure(one)}", file=sys.stderr)
    return job


def failure(job: Json) -> str:
    """A job's error in one line."""
    error = job["error"]
    return f"{error['type']}: {error['message']}" if error else "no error recorded"


def warn(text: str) -> None:
    """Tell of something that stops nothing."""
    print(f"ddcal: warning: {text}", file=sys.stderr)
