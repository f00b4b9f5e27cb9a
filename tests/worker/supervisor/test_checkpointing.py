"""A checkpoint from attempt to attempt, and what a run is told and tells of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.shared.engine import jobs, runs
from tests.waiting import until
from tests.worker.supervised import (
    DEAD,
    OBEDIENT,
    OWNER,
    PRELUDE,
    PROGRESS,
    SET_OUTPUT,
    Bench,
    held,
    in_background,
    wait_for_progress,
)

# Leaves what it has found and what it was told in the log, then writes further.
CHECKPOINTING = """
path = pathlib.Path(job["checkpoint"])
found = path.read_text() if path.exists() else "nothing"
with open(job["log_file"], "a") as log:
    log.write(f"found {found}, recipe {job['recipe']}\\n")
path.write_text(found + "+1")
"""


def log_of(made: Bench, job_id: str) -> list[str]:
    """What the trainers have found, attempt by attempt."""
    lines = (made.settings.log_folder / f"{job_id}.log").read_text().splitlines()
    return [line for line in lines if line.startswith("found")]


def folders(made: Bench) -> list[str]:
    """The jobs that have a checkpoint."""
    folder = made.settings.checkpoint_folder
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_next_attempt_finds_it_and_the_end_takes_it_away(bench: Callable[..., Bench]) -> None:
    """The same file for each attempt, under one recipe."""
    made = bench(CHECKPOINTING + DEAD, CHECKPOINTING + DEAD, CHECKPOINTING + SET_OUTPUT)
    job = made.submit()

    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    recipe = made.job(job.id).recipe
    assert log_of(made, job.id) == [
        f"found {found}, recipe {recipe}" for found in ("nothing", "nothing+1", "nothing+1+1")
    ]
    assert folders(made) == []


def test_a_cancelled_job_leaves_none(bench: Callable[..., Bench]) -> None:
    """Nobody will go on with it."""
    made = bench(CHECKPOINTING + OBEDIENT)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)
    with made.database.write() as connection:
        jobs.request_cancel(connection, OWNER, job.id, grace_seconds=60)
    thread.join(120)
    assert made.job(job.id).state == "cancelled"
    assert folders(made) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "nothing+1"),
        ({"reuse": False}, "nothing"),
        ({"params": {"dataset": "digits", "seed": 1}}, "nothing"),
    ],
    ids=["equal", "asked to start anew", "another recipe"],
)
def test_an_equal_job_goes_on_where_a_failed_one_was(
    bench: Callable[..., Bench], changes: dict[str, object], found: str
) -> None:
    """A job that ran out of time or attempts has not worked for nothing."""
    made = bench(CHECKPOINTING + DEAD, CHECKPOINTING + SET_OUTPUT)
    failed = made.submit(max_attempts=1)
    made.supervisor().work()
    assert folders(made) == [failed.id]

    job = made.submit(**changes)
    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    assert log_of(made, job.id)[0].startswith(f"found {found},")
    assert folders(made) == [failed.id]


def test_a_kind_that_cannot_go_on_gets_none(bench: Callable[..., Bench]) -> None:
    """No folder for what is not read."""
    seen = 'say(type="failed", error={"type": "x", "message": repr(job.get("checkpoint"))})\n'
    made = bench(seen)
    params = {"training_set": {"source": "full"}, "dataset": "digits"}
    job = made.submit(kind="train", params=params)
    made.supervisor().work()
    assert made.job(job.id).error == {"type": "x", "message": "None"}
    assert folders(made) == []


def test_notes_become_events(bench: Callable[..., Bench]) -> None:
    """In order, the last words too; users read them among the job's events."""
    note = 'say(type="note", code="resumed", message="step {}")\n'
    made = bench(note.format(1) + PROGRESS + "time.sleep(1)\n" + note.format(2) + SET_OUTPUT)
    job = made.submit()
    made.supervisor().work()
    notes = [event.data for event in made.events(job.id, "note")]
    assert notes == [{"code": "resumed", "message": f"step {step}"} for step in (1, 2)]


def test_a_chatterbox_is_heard_a_hundred_times(bench: Callable[..., Bench]) -> None:
    """A history is not filled by one run."""
    made = bench('for k in range(1000): say(type="note", code="a", message="b")\n' + SET_OUTPUT)
    job = made.submit()
    made.supervisor().work()
    assert len(made.events(job.id, "note")) == 100


def test_a_trainer_that_loads_for_long_is_waited_for(bench: Callable[..., Bench]) -> None:
    """The lease is prolonged meanwhile; what it computes on is known before its job begins."""
    made = bench("", heartbeat_seconds=0.05)
    go = made.settings.folder / "go"
    waits = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
    loads = "import pathlib, time\n" + waits
    made.prelude = loads + PRELUDE + SET_OUTPUT
    job = made.submit()
    thread = in_background(made.supervisor())
    until(made.lease_end)
    first = made.lease_end()
    until(lambda: made.lease_end() > first)
    made.let_go()
    thread.join(120)
    assert made.job(job.id).state == "succeeded"
    assert len(made.outcomes(job.id)) == 1


def test_nonsense_from_a_trainer_that_loads_is_a_crash(bench: Callable[..., Bench]) -> None:
    """Before it is ready as after."""
    made = bench("")
    made.prelude = 'print("what?", flush=True)\nimport time; time.sleep(3600)\n'
    job = made.submit(max_attempts=1)
    made.supervisor().work()
    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "trainer_crashed"


def lose(made: Bench, job_id: str) -> None:
    """As if the supervisor had been frozen for longer than its lease."""
    with made.database.write() as connection:
        table = jobs.jobs
        connection.execute(
            table.update().where(table.c.id == job_id).values(lease_until_at=table.c.created_at)
        )
        runs.recover_lost(connection, job_id)


@pytest.mark.long
def test_a_lost_run_leaves_its_successor_s_files_alone(bench: Callable[..., Bench]) -> None:
    """A supervisor that comes back from the dead tidies up after itself, and no further."""
    made = bench(PROGRESS + "time.sleep(3600)\n", heartbeat_seconds=2)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)
    lose(made, job.id)
    with made.database.write() as connection:
        successor = runs.claim_next(connection, queue="gpu", worker="other", lease_seconds=60)
    assert successor is not None
    theirs = Path(made.settings.work_folder / f"{job.id}-{successor.fence}")
    theirs.mkdir()
    thread.join(120)
    assert not thread.is_alive()
    assert list(made.settings.work_folder.iterdir()) == [theirs]


def test_a_lost_run_with_an_error_of_its_own_does_not_stop_the_worker(
    bench: Callable[..., Bench],
) -> None:
    """Fenced out while it reports: the next job is worked off under the same bell."""
    # The first trainer makes its run lose the job, and leaves outputs that are not there.
    made = bench(
        PROGRESS
        + held()
        + 'say(type="outputs", outputs=[{"resource": "distilled_set", "values": {}, "files": [{'
        '"name": "a", "path": "/nonexistent/a", "media_type": "a/b"}]}])\n',
        SET_OUTPUT,
        heartbeat_seconds=20,  # none comes between the loss and the last word
    )
    job, following = made.submit(), made.submit(reuse=False)
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)
    lose(made, job.id)
    made.let_go()
    until(lambda: made.job(following.id).state == "succeeded")
    thread.join(120)
    assert made.job(job.id).state == "succeeded", "its next attempt came under the same bell"
