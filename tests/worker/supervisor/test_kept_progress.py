"""Which reports of progress stay in a job's history: enough to draw a short run, few of a long."""

import itertools
from types import SimpleNamespace

from ddcal_core.intake.job_messages import ProgressReport
from worker.supervisor.run_state import Run


def kept(seconds, *, phases=1):
    """When reports are kept of a run that tells of progress, and beats, twice a second."""
    now = [1000.0]
    run = Run(SimpleNamespace(id="job_x"), SimpleNamespace(), lambda: now[0])
    times = []
    for k in range(2 * seconds):
        now[0] = 1000.0 + k / 2
        phase = f"phase {k * phases // (2 * seconds)}"
        run.hear(ProgressReport(phase=phase, step=k, steps=2 * seconds, values={"loss": 1.0}))
        is_event = run.is_worth_an_event(now[0])
        run.written(now[0], n_notes=0, is_event=is_event)
        if is_event:
            times.append(now[0] - 1000.0)
    return times


def test_a_short_run_has_a_curve():
    """Ten seconds leave more than the two that one in five seconds would."""
    assert len(kept(10)) == 20


def test_a_long_run_leaves_a_report_in_five_seconds():
    """But for a few more at its beginning."""
    times = kept(3600)
    assert 3600 / 5.5 < len(times) < 3600 / 5 + 80
    late = [time for time in times if time > 600]
    assert all(b - a == 5.5 for a, b in itertools.pairwise(late))


def test_each_phase_is_told_of_at_once():
    """However soon it follows."""
    times = kept(3600, phases=3600)
    assert set(range(3600)) <= set(times)
