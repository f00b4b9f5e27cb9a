"""A trainer that was started and never says that it is ready."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL

import pytest

from app.shared.inputs.datasets import NewDataset, find_dataset, insert_dataset
from app.shared.store.kinds import INTAKE_QUEUE
from tests.waiting import until
from tests.worker.supervised import (
    OWNER,
    PRELUDE,
    SET_OUTPUT,
    AdvancedClock,
    Bench,
    in_background,
)
from worker.supervisor.programs import KEPT_MEMORY, start_program
from worker.supervisor.trainer_process import INTAKE_MEMORY_BYTES, start_trainer

MUTE = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(3600)\n"
ANSWERS = PRELUDE + SET_OUTPUT
PATIENCE_SECONDS = 600
JOIN_SECONDS = 120


def mute_bench(bench: Callable[..., Bench], *programs: str) -> Bench:
    """Trainers that are these programs, with nothing said beforehand."""
    made = bench(*programs, start_seconds=PATIENCE_SECONDS, lease_seconds=3600)
    made.prelude = ""
    return made


def test_a_trainer_that_never_answers_is_replaced(bench: Callable[..., Bench]) -> None:
    """It is killed, which costs an attempt as a crash does, and the job is tried again."""
    made = mute_bench(bench, MUTE, ANSWERS)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    until(lambda: made.job(job.id).state == "running")
    until(clock.is_followed())
    assert made.started[0].is_alive()

    clock.ahead = PATIENCE_SECONDS + 1
    thread.join(JOIN_SECONDS)

    assert made.job(job.id).state == "succeeded"
    assert made.outcomes(job.id) == [
        ("failed", "was ended by its supervisor"),
        ("succeeded", "exited with status 0"),
    ]
    assert not made.started[0].is_alive()


def test_a_job_whose_trainers_never_answer_fails_by_name(bench: Callable[..., Bench]) -> None:
    """With its attempts it ends, and says why."""
    made = mute_bench(bench, MUTE)
    job, clock = made.submit(max_attempts=1), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    until(lambda: made.job(job.id).state == "running")
    until(clock.is_followed())

    clock.ahead = PATIENCE_SECONDS + 1
    thread.join(JOIN_SECONDS)

    assert made.job(job.id).error == {
        "type": "trainer_did_not_start",
        "message": "the trainer did not start: it was not ready in time",
    }


def test_a_check_of_an_upload_that_never_answers_is_given_up(bench: Callable[..., Bench]) -> None:
    """The intake has its job before it is ready, and the same patience."""
    made = mute_bench(bench, MUTE)
    made.settings.upload_folder.mkdir(parents=True)
    (made.settings.upload_folder / "u.npz").write_bytes(b"x")
    job = made.submit(
        kind="intake", params={"upload": "u.npz"}, queue="intake", dataset="mine", max_attempts=1
    )
    with made.database.write() as connection:
        new = NewDataset(name="mine", sha256=hashlib.sha256(b"x").hexdigest(), n_bytes=1)
        insert_dataset(connection, OWNER, new, job)
    clock = AdvancedClock()
    thread = in_background(made.supervisor("intake", clock=clock))
    # The next one is started once this one has been sent its job.
    until(lambda: len(made.started) == 2)

    clock.ahead = PATIENCE_SECONDS + 1
    thread.join(JOIN_SECONDS)

    with made.database.read() as connection:
        dataset = find_dataset(connection, OWNER, "mine", made.settings)
    assert dataset.state == "rejected"
    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "trainer_did_not_start"


def test_one_that_waits_for_a_job_and_never_got_ready_costs_no_attempt(
    bench: Callable[..., Bench],
) -> None:
    """It is replaced before the job begins."""
    made = mute_bench(bench, MUTE, ANSWERS)
    clock = AdvancedClock()
    supervisor = made.supervisor(clock=clock)
    clock.ahead = PATIENCE_SECONDS + 1
    job = made.submit()

    supervisor.work()

    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["succeeded"]
    assert not made.started[0].is_alive()


def test_one_that_has_long_been_ready_is_used(bench: Callable[..., Bench]) -> None:
    """Patience is with the start alone, not with the wait for a job."""
    made = mute_bench(bench, ANSWERS)
    clock = AdvancedClock()
    supervisor = made.supervisor(clock=clock)
    until(made.started[0].has_spoken, seconds=JOIN_SECONDS)
    clock.ahead = PATIENCE_SECONDS + 1
    made.submit()

    supervisor.work()

    assert len(made.started) == 2  # the one that ran the job, and the next
    supervisor.close()


def test_an_intake_may_take_so_much_memory() -> None:
    """What strangers send is decoded with a limit on the address space, set by the kernel."""
    intake = start_trainer(INTAKE_QUEUE)
    try:
        limits = Path(f"/proc/{intake.pid}/limits")
        until(lambda: f"{INTAKE_MEMORY_BYTES}" in limits.read_text())
        (line,) = (one for one in limits.read_text().splitlines() if "address space" in one)
        assert line.split()[3:5] == [str(INTAKE_MEMORY_BYTES)] * 2
    finally:
        intake.end(0)


@pytest.mark.parametrize("given", [None, "65536"])
def test_children_keep_the_memory_of_large_tensors(tmp_path: Path, monkeypatch, given) -> None:
    """Unless the service's own environment says otherwise."""
    if given is not None:
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", given)
    wanted = KEPT_MEMORY | ({} if given is None else {"MALLOC_MMAP_THRESHOLD_": given})
    say = "import os, json; print(json.dumps(dict(os.environ)))"
    with (tmp_path / "said").open("wb") as said:
        child = start_program([sys.executable, "-c", say], stdin=DEVNULL, stdout=said.fileno())
        assert child.wait() == 0
    told = json.loads((tmp_path / "said").read_text())
    assert wanted.items() <= told.items()
