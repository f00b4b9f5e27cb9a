"""Keeping programs alive: restarts with backoff, leftovers, giving up, stopping in order."""

import os

import pytest

from app.embedded.programs import (
    EmbeddedError,
    Program,
    backoff_seconds,
    look_after,
    start,
    stop_in_order,
)
from tests.waiting import has_ended, until


def program(tmp_path, script):
    """A shell script as a program to keep."""
    return Program("part", ("sh", "-c", script), dict(os.environ), tmp_path / "part.log")


@pytest.mark.parametrize(
    ("n_failures", "seconds"), [(1, 0.25), (2, 0.5), (3, 1), (7, 16), (8, 30), (10_000, 30)]
)
def test_backoff_doubles_up_to_half_a_minute(n_failures, seconds):
    """A quarter second after the first failure, twice as long after each more, never over 30 s."""
    assert backoff_seconds(n_failures) == seconds


def test_dead_program_is_started_again_and_its_last_words_shown(tmp_path):
    """A program that ends comes back as another process, after its log's end has been told."""
    said = []
    kept = start(program(tmp_path, "echo last words; sleep 60 & wait"))
    try:
        first = kept.process.pid
        until(lambda: "last words" in (tmp_path / "part.log").read_text())
        kept.process.kill()

        def is_another():
            look_after(kept, said.append)
            return kept.process.pid != first

        until(is_another)
        assert kept.process.poll() is None
        assert "part ended with status -9" in said[0]
        assert "| last words" in said[1]
    finally:
        stop_in_order([[kept]])


def test_leftovers_of_a_dead_program_do_not_work_beside_its_successor(tmp_path):
    """The children of a program that was killed are killed before it is started again."""
    note = tmp_path / "pid"
    kept = start(
        program(tmp_path, f"sleep 60 & echo $! > {note}.part; mv {note}.part {note}; wait")
    )
    try:
        until(note.exists)
        orphan = int(note.read_text())
        kept.process.kill()
        until(lambda: look_after(kept, lambda _: None) or kept.start_again is not None)
        until(lambda: has_ended(orphan))
    finally:
        stop_in_order([[kept]])


def test_failures_in_a_row_wait_longer(tmp_path):
    """A program that always fails is started less and less often."""
    said = []
    kept = start(program(tmp_path, "exit 3"))

    def has_failed_thrice():
        look_after(kept, said.append)
        return kept.n_failures == 3

    until(has_failed_thrice)
    pauses = [line.rpartition(" in ")[2] for line in said if "ended with status 3" in line]
    assert pauses == ["0.25 s", "0.5 s", "1 s"]


@pytest.mark.long
def test_a_program_that_never_stays_up_is_given_up(tmp_path):
    """A broken installation is told with its last words, not restarted for ever."""
    kept = start(program(tmp_path, "echo no such module; exit 1"))

    def look_until_hopeless():
        until(lambda: look_after(kept, lambda _: None))

    with pytest.raises(EmbeddedError, match=r"part does not stay up(.|\n)*no such module"):
        look_until_hopeless()
    assert kept.n_failures == 5


def test_groups_stop_in_order(tmp_path):
    """The second group is asked to stop only when the first has ended."""
    order = tmp_path / "order"
    script = (
        "trap 'sleep {0}; echo {1} >> {2}; exit' TERM; touch {2}.{1}; while :; do sleep 0.05; done"
    )
    slow = start(program(tmp_path, script.format(0.3, "slow", order)))
    quick = start(program(tmp_path, script.format(0, "quick", order)))
    for name in ("slow", "quick"):
        until(order.with_name(f"order.{name}").exists)
    stop_in_order([[slow], [quick]])
    assert order.read_text().split() == ["slow", "quick"]
