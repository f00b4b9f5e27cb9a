"""What a supervisor lets no trainer do: hang, eat the machine's memory, or start on a full disk."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from app.shared.engine import runs
from app.shared.store.catalog import Attempt, attempts_of
from tests.waiting import until
from tests.worker.supervised import OWNER, PROGRESS, SET_OUTPUT, Bench, in_background

HANGS = PROGRESS + "time.sleep(60)\n"
GREEDY = PROGRESS + "held = bytearray(300_000_000)\ntime.sleep(60)\n"
BUSY = PROGRESS + "until = time.process_time() + 0.3\nwhile time.process_time() < until: pass\n"
WENT_ON = 'say(type="note", code="resumed", message="went on after step 7", step=7)\n'
MAX_BYTES = 200_000_000


def attempts(made: Bench, job_id: str) -> list[Attempt]:
    """The job's attempts as they stand."""
    with made.database.read() as connection:
        return attempts_of(connection, OWNER, job_id)


def error_type(made: Bench, job_id: str) -> str | None:
    """The type of the error that the job ended with."""
    error = made.job(job_id).error
    return None if error is None else str(error["type"])


@pytest.mark.parametrize("asked", [None, 1])
def test_a_trainer_that_hangs_is_ended_and_tried_again(
    bench: Callable[..., Bench], asked: int | None
) -> None:
    """A beating supervisor is no sign of a trainer that gets on; the job's patience comes first."""
    made = bench(HANGS, SET_OUTPUT, stall_seconds=600 if asked else 0.3, stop_grace_seconds=0.1)
    job = made.submit(stall_seconds=asked)

    made.supervisor().work()
    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    assert [attempt.outcome for attempt in attempts(made, job.id)] == ["failed", "succeeded"]


def test_a_job_that_always_hangs_fails_by_name(bench: Callable[..., Bench]) -> None:
    """With its attempts it ends, and says why."""
    made = bench(HANGS, stall_seconds=0.3, stop_grace_seconds=0.1)
    job = made.submit(max_attempts=1)

    made.supervisor().work()

    assert error_type(made, job.id) == "stalled"


def test_a_trainer_that_gets_on_is_not_ended(bench: Callable[..., Bench]) -> None:
    """Each progress gives it its time anew."""
    step = PROGRESS + "time.sleep(0.3)\n"
    made = bench(step * 4 + SET_OUTPUT, stall_seconds=0.9)
    job = made.submit()

    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"


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
    made = bench(WENT_ON + BUSY + "time.sleep(0.3)\n" + SET_OUTPUT + "time.sleep(0.3)\n")
    job = made.submit()

    made.supervisor().work()

    (attempt,) = attempts(made, job.id)
    assert attempt.cpu_seconds is not None
    assert 0.25 < attempt.cpu_seconds < 20
    assert attempt.resumed_from_step == 7


def test_where_a_run_went_on_is_told_while_it_lasts_and_when_it_is_lost(
    bench: Callable[..., Bench],
) -> None:
    """It is written with the note, not at the end."""
    made = bench(WENT_ON + "time.sleep(60)\n", SET_OUTPUT)
    job = made.submit()
    thread = in_background(made.supervisor())
    until(lambda: attempts(made, job.id) and attempts(made, job.id)[0].resumed_from_step == 7)

    with made.database.write() as connection:
        connection.execute(text("UPDATE jobs SET lease_until_at = 0"))
        runs.recover_lost(connection, job.id)
    thread.join(20)

    assert attempts(made, job.id)[0].outcome == "lost"
    assert attempts(made, job.id)[0].resumed_from_step == 7
