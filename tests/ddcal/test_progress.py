"""A job's progress for people: the bar, the lines, and how much longer."""

import io
import re

import pytest
from rich.console import Console

from ddcal.progress import Estimate, ProgressView, duration, heading, share_done
from ddcal.records import JobRecord


def child(state, *, role="distill", kind="distill", step=None, eta=None, **more):
    """A pipeline's child as the service shows it."""
    progress = None
    if step is not None:
        progress = {
            "phase": "matching", "step": step, "steps": 100, "fraction": step / 100,
            "eta_seconds": eta, "values": {"loss": 0.51234},
        }  # fmt: skip
    own = {"id": f"job_{role}", "role": role, "kind": kind, "state": state}
    return {**own, "progress": progress, **more}


def pipeline(*children, state="blocked", eta=None):
    """A pipeline as the service shows it."""
    shown = {"id": "job_1", "kind": "pipeline", "state": state, "children": children}
    return JobRecord.model_validate({**shown, "progress": {"eta_seconds": eta}})


def view_on(stream, clock, **options):
    """A view that writes to a stream."""
    return ProgressView(console=Console(file=stream, **options), clock=clock)


def test_plain_stream_gets_a_line_for_each_change_only():
    """Without a terminal a line comes when job, state or phase change, and each ten seconds."""
    stream, now = io.StringIO(), [0.0]
    with view_on(stream, lambda: now[0]) as view:
        view.show(pipeline(child("queued")))
        for second in range(12):
            now[0] = float(second)
            view.show(pipeline(child("running", step=second, eta=100.0 - second)))
    lines = stream.getvalue().splitlines()
    assert [line.partition(" s  ")[0].strip() for line in lines] == ["0.0", "0.0", "10.0"]
    assert lines[0].endswith("0/1 distill queued")
    assert lines[2].endswith("matching 10/100, about 1 min 30 s left, loss 0.5123")


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_has_one_bar_over_the_whole(width):
    """The share of all parts, the part that works, and what is left."""
    stream = io.StringIO()
    with view_on(stream, lambda: 0.0, force_terminal=True, width=width) as view:
        parts = child("running", step=50, eta=5.2), child("blocked", role="train", kind="train")
        view.show(pipeline(*parts))
    shown = re.sub("\x1b[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "\n")
    last = [line for line in shown.splitlines() if line.strip()][-1]
    bar, numbers = (40, ", loss 0.5123") if width == 120 else (24, "")
    assert last.startswith("━" * (bar // 4))
    assert last.rstrip()[bar:] == f"  25% 0/2 distill matching, at least 5 s left{numbers}"
    assert len(last) <= width


@pytest.mark.parametrize(
    ("children", "share"),
    [((), 0.0), (("blocked",), 0.0), (("succeeded", "blocked"), 0.5), (("failed", "failed"), 1.0)],
)
def test_share_of_a_pipeline(children, share):
    """Ended parts count whole, however they ended."""
    made = [child(state, role=str(place)) for place, state in enumerate(children)]
    assert share_done(pipeline(*made)) == share


def test_the_heading_names_what_works():
    """A running part, else the next, else the pipeline."""
    assert (
        heading(pipeline(child("succeeded"), child("queued", role="train"))) == "1/2 train queued"
    )
    assert heading(pipeline(child("succeeded"), state="succeeded")) == "1/1 pipeline succeeded"
    upload = JobRecord(id="job_1", kind="intake", state="running")
    assert heading(upload) == "check running"


def test_an_estimate_says_what_it_knows():
    """Of parts like those that have ended, what these took; a lower bound where one is unknown."""
    now = [0.0]
    estimate = Estimate(lambda: now[0])

    def look(at, *parts):
        now[0] = float(at)
        return estimate.look(pipeline(*parts))

    waiting = child("blocked", role="b", kind="train")
    last = child("blocked", role="c", kind="evaluate")
    assert look(0, child("queued", role="a", kind="train"), waiting, last) == ""
    assert look(10, child("running", role="a", kind="train"), waiting, last) == ""
    done = child("succeeded", role="a", kind="train")
    assert look(40, done, waiting, last) == "at least 30 s left"
    assert look(50, done, child("running", role="b", kind="train"), last) == "at least 30 s left"
    assert look(60, done, child("running", role="b", kind="train"), last) == "at least 20 s left"
    told = child("running", role="c", kind="evaluate", step=1, eta=7.0)
    assert look(80, done, child("succeeded", role="b", kind="train"), told) == "about 7 s left"


def test_the_service_knows_better():
    """It has seen former pipelines: what it says is for all that is left."""
    running = child("running", role="a", kind="train", step=1, eta=7.0)
    parts = running, child("blocked", role="b", kind="evaluate")
    assert Estimate(lambda: 0.0).look(pipeline(*parts)) == "at least 7 s left"
    assert Estimate(lambda: 0.0).look(pipeline(*parts, eta=62.0)) == "about 1 min 2 s left"


def test_an_estimate_does_not_learn_from_what_was_taken_over():
    """Nor from what was running before anybody looked: nobody knows since when."""
    now = [0.0]
    estimate = Estimate(lambda: now[0])
    other = child("blocked", role="b", kind="train")
    for state in ("queued", "running"):
        estimate.look(pipeline(child(state, role="a", kind="train"), other))
    taken = child("succeeded", role="a", kind="train", reused_from="job_0")
    assert estimate.look(pipeline(taken, other)) == ""
    estimate = Estimate(lambda: now[0])
    estimate.look(pipeline(child("running", role="a", kind="train"), other))
    assert estimate.look(pipeline(child("succeeded", role="a", kind="train"), other)) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_duration_in_words(seconds, words):
    """Seconds up to a minute, minutes up to an hour."""
    assert duration(seconds) == words


def test_a_study_shows_all_of_its_jobs_though_few_come_with_it():
    """Those at work and the one that compares, which waits for the rest and is not at work."""
    compare = child("blocked", role="compare", kind="compare")
    shown = {
        "id": "job_1", "kind": "study", "state": "running", "children": [compare],
        "counts": {"succeeded": 3, "queued": 8, "blocked": 1},
        "progress": {"fraction": 0.25, "eta_seconds": 90.0},
    }  # fmt: skip
    study = JobRecord.model_validate(shown)
    assert share_done(study) == 0.25
    assert heading(study).startswith("3/12 study")
    assert Estimate().look(study) == "about 1 min 30 s left"
    working = child("running", role="4-train-distilled", kind="train", step=50)
    study = JobRecord.model_validate({**shown, "children": [working, compare]})
    assert heading(study) == "3/12 4-train-distilled matching"
