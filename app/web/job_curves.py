"""What a job has told on its way, as charts: one for each number, a line for each phase like it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.shared.engine.events import NOTE, PROGRESS, Event, told_events
from app.shared.engine.runs import RESUMED_FROM_STEP
from app.shared.store.catalog import Result
from app.shared.store.database import Connection
from app.shared.store.job_records import Job
from app.web.charts import Chart, Line, Mark, Point, line_chart

MOST_EVENTS = 600
"""That are read of one job, of whose reports about so many are spread over all."""
DISTILL = "distill"
ACCURACY = "validation_accuracy"
LEFT_OUT = frozenset({"best"})
"""What another line shows already: the highest of it so far."""
_COUNTED = re.compile(r"^(.*) (\d+/\d+)$")


def curves_of(
    connection: Connection, job: Job, results: Sequence[Result]
) -> tuple[list[Chart], list[Event]]:
    """The charts of a job, and the notes of its runs.

    Args:
        connection: a read transaction.
        job: an atomic one.
        results: that it has made: a distilled set knows at which steps it was scored.
    """
    told = told_events(connection, job.owner_id, job.id, most=MOST_EVENTS)
    notes = [event for event in told if event.type == NOTE]
    reports = [event.data for event in told if event.type == PROGRESS]
    if job.progress:
        reports.append(job.progress)
    lines = _lines(reports)
    marks = _marks(told)
    made = next((one for one in results if one.resource == "distilled_set"), None)
    if made is not None and made.details.get("validation_accuracies"):
        scored = made.details["validation_accuracies"]
        lines[DISTILL, ACCURACY] = {"": [(one["step"], one["accuracy"]) for one in scored]}
        chosen = made.details.get("chosen_step", 0)
        marks.append((DISTILL, Mark(x=chosen, words=f"step {chosen} was chosen")))
    charts = [
        line_chart(
            _title(phase, name),
            [Line(name=part, points=points) for part, points in parts.items()],
            marks=[mark for of, mark in marks if of == phase],
            is_share=name == ACCURACY,
        )
        for (phase, name), parts in lines.items()
    ]
    # A line of one point says no more than the progress does.
    return [one for one in charts if one is not None and len(one.rows) > 1], notes


def _lines(reports: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, list[Point]]]:
    """Points by phase and number, then by which of several such phases it was."""
    found: dict[tuple[str, str], dict[str, list[Point]]] = {}
    for report in reports:
        phase, part = _phase_of(report)
        step = report["step"]
        for name, value in report.get("values", {}).items():
            if name in LEFT_OUT:
                continue
            points = found.setdefault((phase, name), {}).setdefault(part, [])
            # A later attempt, gone on from a checkpoint, goes over the last steps again.
            while points and points[-1][0] >= step:
                points.pop()
            # The score is told with each step until there is another.
            if name != ACCURACY or not points or points[-1][1] != value:
                points.append((step, value))
    return found


def _marks(told: Iterable[Event]) -> list[tuple[str, Mark]]:
    """Where each note belongs: at the step that it names, else at the last that was told of."""
    marks: list[tuple[str, Mark]] = []
    phase, step = DISTILL, 0
    for event in told:
        if event.type == PROGRESS:
            phase, step = _phase_of(event.data)[0], event.data["step"]
        elif event.type == NOTE and "code" in event.data:
            at = event.data.get(RESUMED_FROM_STEP, step)
            marks.append((phase, Mark(x=at, words=str(event.data.get("message", "")))))
    return marks


def _phase_of(report: Mapping[str, Any]) -> tuple[str, str]:
    """A phase, and which of how many like it: "train random 2/3" is the second of three."""
    phase = str(report["phase"])
    counted = _COUNTED.match(phase)
    return (counted[1], counted[2]) if counted else (phase, "")


def _title(phase: str, name: str) -> str:
    words = name.replace("_", " ").capitalize()
    return words if phase == DISTILL else f"{words}: {phase}"
