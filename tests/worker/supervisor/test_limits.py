"""What a supervisor lets no trainer do: hang, eat the machine's memory, or start on a full disk."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from app.shared.engine import runs
from app.shared.store.job_queries import Attempt, attempts_of
from tests.waiting import until
from tests.worker.supervised import (
    OWNER,
    PROGRESS,
    SET_OUTPUT,
    AdvancedClock,
    Bench,
    held,
    in_background,
    wait_for_progress,
)

HANGS = PROGRESS + "time.sleep(3600)\n"
GREEDY = PROGRESS + "held = bytearray(300_000_000)\ntime.sleep(60)\n"
BUSY = PROGRESS + "until = time.process_time() + 0.3\nwhile time.process_time() < until: pass\n"
WENT_ON = 'say(type="note", code="resumed", message="went on after step 7", step=7)\n'
MAX_BYTES = 200_000_000
# By a clock that the tests put forward; a lease is longer.
PATIENCE_SECONDS = 600
LEASE_SECONDS = 3600


def attempts(made: Bench, job_id: str) -> list[Attempt]:
    """The job's attempts as they stand."""
    with made.database.read() as connection:
        return attempts_of(connection, OWNER, job_id)


def error_type(made: Bench, job_id: str) -> str | None:
    """The type of the error that the job ended with."""
    error = made.job(job_id).error
    return None if error is None else str(error["type"])


@pytest.mark.parametrize("asked", [None, PATIENCE_SECONDS])
def test_a_trainer_that_hangs_is_ended_and_tried_again(
    bench: Callable[..., Bench], asked: int | None
) -> None:
    """A beating supervisor is no sign of a trainer that gets on; the job's patience comes first."""
    patience = 2 * PATIENCE_SECONDS if asked else PATIENCE_SECONDS
    made = bench(HANGS, SET_OUTPUT, stall_seconds=patience, lease_seconds=LEASE_SECONDS)
    job, clock = made.submit(stall_seconds=asked), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    clock.ahead = PATIENCE_SECONDS + 1
    thread.join(120)

    assert made.job(job.id).state == "succeeded"
    assert [attempt.outcome for attempt in attempts(made, job.id)] == ["failed", "succeeded"]


def test_a_job_that_always_hangs_fails_by_name(bench: Callable[..., Bench]) -> None:
    """With its attempts it ends, and says why."""
    made = bench(HANGS, stall_seconds=PATIENCE_SECONDS, lease_seconds=LEASE_SECONDS)
    job, clock = made.submit(max_attempts=1), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    clock.ahead = PATIENCE_SECONDS + 1
    thread.join(120)

    assert error_type(made, job.id) == "stalled"


def test_a_trainer_that_gets_on_is_not_ended(bench: Callable[..., Bench]) -> None:
    """Each progress gives it its time anew."""
    steps = range(1, 5)
    mood = "".join(PROGRESS.replace("step=1", f"step={k}") + held(f"after {k}") for k in steps)
    made = bench(mood + SET_OUTPUT, stall_seconds=PATIENCE_SECONDS, lease_seconds=LEASE_SECONDS)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))

    for k in steps:
        wait_for_progress(made, job.id, step=k)
        clock.ahead += PATIENCE_SECONDS / 2
        made.let_go(f"after {k}")
    thread.join(120)

    assert [attempt.outcome for attempt in attempts(made, job.id)] == ["succeeded"]


def test_a_job_that_eats_all_memory_is_tried_twice_and_harms_no_other(
    bench: Callable[..., Bench],
) -> None:
    """The worker outlives it, the next job runs."""
    made = bench(GREEDY, GREEDY, SET_OUTPUT, trainer_memory_bytes=MAX_BYTES)
    greedy, other = made.submit(priority=1, max_attempts=5), made.submit()

    supervisor = made.supervisor()
    supervisor.work()
    supervisor.work()

    assert made.job(greedy.id).state == "failed"
    assert error_type(made, greedy.id) == "host_oom"
    held = [attempt.peak_memory_bytes for attempt in attempts(made, greedy.id)]
    assert len(held) == 2
    assert all(peak is not None and peak > MAX_BYTES for peak in held)
    assert made.job(other.id).state == "succeeded"


def test_no_job_is_begun_on_a_full_disk(bench: Callable[..., Bench]) -> None:
    """It waits in the queue, its attempts untouched."""
    made = bench(SET_OUTPUT, min_free_bytes=2**60)
    job = made.submit()

    assert made.supervisor().work() == 0

    assert (made.job(job.id).state, made.job(job.id).attempt) == ("queued", 0)


def test_an_attempt_tells_its_time_and_where_it_went_on(bench: Callable[..., Bench]) -> None:
    """Processor seconds as the kernel counted them; the checkpoint's step."""
    made = bench(WENT_ON + BUSY + held() + SET_OUTPUT)
    job = made.submit()
    thread = in_background(made.supervisor())
    until(lambda: made.started and (made.started[0].cpu_seconds or 0) > 0.25)
    made.let_go()
    thread.join(120)

    (attempt,) = attempts(made, job.id)
    assert attempt.cpu_seconds is not None
    assert 0.25 < attempt.cpu_seconds < 20
    assert attempt.resumed_from_step == 7


def test_where_a_run_went_on_is_told_while_it_lasts_and_when_it_is_lost(
    bench: Callable[..., Bench],
) -> None:
    """It is written with the note, not at the end."""
    made = bench(WENT_ON + held(), SET_OUTPUT)
    job = made.submit()
    thread = in_background(made.supervisor())
    until(lambda: attempts(made, job.id) and attempts(made, job.id)[0].resumed_from_step == 7)

    with made.database.write() as connection:
        connection.execute(text("UPDATE jobs SET lease_until_at = 0"))
        runs.recover_lost(connection, job.id)
    thread.join(120)

    assert attempts(made, job.id)[0].outcome == "lost"
    assert attempts(made, job.id)[0].resumed_from_step == 7


def test_a_trainer_is_the_first_to_be_killed(bench: Callable[..., Bench]) -> None:
    """In an out-of-memory the kernel takes it before the worker, the database or the broker."""
    made = bench(SET_OUTPUT)
    made.supervisor()
    (trainer,) = made.started
    score = Path(f"/proc/{trainer.pid}/oom_score_adj").read_text()
    trainer.end(0)
    assert score == "1000\n"
