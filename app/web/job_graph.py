"""The jobs of a pipeline as boxes, with an arrow from each to those that build on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.api.job_views import progress_body
from app.shared.store.job_records import Job
from app.shared.store.kinds import KINDS

BOX_WIDTH, BOX_HEIGHT = 190, 58
GAP_X, GAP_Y = 52, 14
MARGIN = 4
LONGEST_TITLE = 24
_PLACES = {kind: place for place, kind in enumerate(KINDS)}


@dataclass(frozen=True, kw_only=True)
class Box:
    """One job, where it stands: its upper left corner, in pixels.

    Attributes:
        title: what it is in the pipeline, cut where it is too long for the box.
        words: its state, and how far it is.
        filled: the width of the part of the box that is done.
    """

    job: Job
    title: str
    words: str
    x: int
    y: int
    filled: int


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """From a job to one that builds on it, as the path of an SVG; done once the first is."""

    path: str
    is_done: bool


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All boxes, which are of one size, and arrows; sizes in pixels."""

    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    width: int
    height: int
    box_width: int = BOX_WIDTH
    box_height: int = BOX_HEIGHT


def graph_of(children: Sequence[Job], needs: Mapping[str, Sequence[str]]) -> Graph:
    """The jobs of a pipeline by columns, one a kind, each in the middle of the picture.

    Args:
        children: in the order in which they were written.
        needs: of each, the ids of the jobs that have to succeed before it.
    """
    by_kind = sorted(children, key=lambda child: _PLACES[child.kind])
    columns = [list(group) for _, group in groupby(by_kind, key=lambda child: child.kind)]
    highest = max(map(len, columns), default=0)
    boxes = {}
    for n, column in enumerate(columns):
        top = (highest - len(column)) * (BOX_HEIGHT + GAP_Y) // 2
        for k, child in enumerate(column):
            x, y = n * (BOX_WIDTH + GAP_X), top + k * (BOX_HEIGHT + GAP_Y)
            boxes[child.id] = _box(child, MARGIN + x, MARGIN + y)
    arrows = [
        _arrow(boxes[needed], boxes[child.id])
        for child in children
        for needed in needs.get(child.id, ())
        if needed in boxes
    ]
    return Graph(
        boxes=tuple(boxes.values()),
        arrows=arrows,
        width=len(columns) * (BOX_WIDTH + GAP_X) - GAP_X + 2 * MARGIN,
        height=highest * (BOX_HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN,
    )


def _box(job: Job, x: int, y: int) -> Box:
    title = job.role or job.kind
    if len(title) > LONGEST_TITLE:
        title = f"{title[: LONGEST_TITLE - 1]}…"
    words, share = job.state.replace("blocked", "waiting"), 0.0
    if job.state == "succeeded":
        words, share = "reused" if job.reused_from else "succeeded", 1.0
    elif job.state == "running" and (progress := progress_body(job)) is not None:
        words, share = f"{progress.phase[:18]} {progress.fraction:.0%}", progress.fraction
    return Box(job=job, title=title, words=words, x=x, y=y, filled=round(BOX_WIDTH * share))


def _arrow(of: Box, to: Box) -> Arrow:
    x, y = of.x + BOX_WIDTH, of.y + BOX_HEIGHT // 2
    end_x, end_y = to.x - 2, to.y + BOX_HEIGHT // 2
    half = (end_x - x) // 2
    path = f"M{x} {y}C{x + half} {y} {end_x - half} {end_y} {end_x} {end_y}"
    return Arrow(path=path, is_done=of.job.state == "succeeded")
