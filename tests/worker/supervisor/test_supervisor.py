"""One run of one job, with real child processes that play a trainer in every mood."""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.shared.engine import jobs, runs
from app.shared.engine.events import list_events
from app.shared.inputs.datasets import NewDataset, find_dataset, insert_dataset
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import (
    Wanted,
    artifacts_of_job,
    list_results,
)
from app.shared.store.job_records import Job
from app.shared.store.tables import outbox
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from tests.waiting import has_ended, until
from tests.worker.supervised import (
    BROKEN,
    DEAD,
    OBEDIENT,
    OWNER,
    PROGRESS,
    SET_OUTPUT,
    STUBBORN,
    AdvancedClock,
    Bench,
    held,
    in_background,
    wait_for_progress,
)


def test_outputs_become_rows_and_files(bench: Callable[..., Bench]) -> None:
    """A run that goes well: job, attempt, result, artifact, file, log; the scratch folder gone."""
    made = bench(PROGRESS + SET_OUTPUT)
    job = made.submit()

    assert made.supervisor().work() == 1

    assert made.job(job.id).state == "succeeded"
    assert made.outcomes(job.id) == [("succeeded", "exited with status 0")]
    with made.database.read() as connection:
        (result,) = list_results(connection, OWNER, "distilled_set", wanted=Wanted())
        (file,) = artifacts_of_job(connection, OWNER, job.id)
    assert (result.job_id, result.columns["images_per_class"]) == (job.id, 1)
    assert file.resource_id == result.id
    store = ArtifactStore(made.settings.artifact_folder)
    assert store.path(job.id, file.sha256).read_text() == "{}"
    assert "attempt 1" in (made.settings.log_folder / f"{job.id}.log").read_text()
    assert list(made.settings.work_folder.iterdir()) == []


def test_a_wake_rings_once_for_those_who_sleep(bench: Callable[..., Bench]) -> None:
    """For the first of the jobs that it works off: by then others may be busy, or asleep."""
    made = bench(SET_OUTPUT)
    for k in range(3):
        made.submit(params={"dataset": "digits", "seed": k})
    with made.database.write() as connection:
        connection.execute(outbox.delete())

    assert made.supervisor().work() == 3

    with made.database.read() as connection:
        assert len(connection.execute(outbox.select()).all()) == 1


def test_progress_reaches_row_and_events(bench: Callable[..., Bench]) -> None:
    """Users see phase, step, share and seconds left."""
    made = bench(PROGRESS + held() + SET_OUTPUT)
    job = made.submit()
    thread = in_background(made.supervisor())

    wait_for_progress(made, job.id)
    made.let_go()
    thread.join(120)

    progress = made.job(job.id).progress
    assert progress is not None
    assert (progress["phase"], progress["step"], progress["fraction"]) == ("distill", 1, 0.25)
    with made.database.read() as connection:
        types = [event.type for event in list_events(connection, OWNER, job.id)]
    assert "progress" in types


def test_the_estimate_goes_by_the_steps_seen(bench: Callable[..., Bench]) -> None:
    """The first report of a phase has no estimate; later ones go by the pace since then."""
    later = PROGRESS.replace("step=1", "step=3")
    made = bench(PROGRESS + held("third step") + later + held("end") + SET_OUTPUT)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    clock.ahead = 20
    made.let_go("third step")
    wait_for_progress(made, job.id, step=3)
    made.let_go("end")
    thread.join(120)

    with made.database.read() as connection:
        events = list_events(connection, OWNER, job.id)
    (first, *_) = [event.data for event in events if event.type == "progress"]
    assert first["eta_seconds"] is None
    progress = made.job(job.id).progress
    assert progress is not None
    # Two steps in 20 s by the clock, and what the machine took besides; one is left.
    assert 10 <= progress["eta_seconds"] < 40


def test_an_estimate_of_the_trainer_s_own_is_believed(bench: Callable[..., Bench]) -> None:
    """Whoever knows what its evaluations cost knows better than the pace of its steps."""
    told = PROGRESS.replace("step=1", "step=3, seconds_left=123.45")
    made = bench(PROGRESS + told + held() + SET_OUTPUT)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id, step=3)
    made.let_go()
    thread.join(120)

    progress = made.job(job.id).progress
    assert progress is not None
    assert progress["eta_seconds"] == pytest.approx(123.45, abs=0.06)


def test_a_failure_named_by_the_trainer_is_final(bench: Callable[..., Bench]) -> None:
    """What a computation says of itself is not tried again."""
    made = bench(BROKEN)
    job = made.submit()

    made.supervisor().work()

    ended = made.job(job.id)
    assert ended.state == "failed"
    assert ended.error == {"type": "nan_loss", "message": "the loss became nan"}
    assert len(made.outcomes(job.id)) == 1


def test_a_killed_trainer_is_tried_again(bench: Callable[..., Bench]) -> None:
    """The second attempt ends the job; both are listed."""
    made = bench(DEAD, SET_OUTPUT)
    job = made.submit()
    supervisor = made.supervisor()

    supervisor.work()

    assert made.job(job.id).state == "succeeded"
    assert made.job(job.id).error is None
    assert made.outcomes(job.id) == [
        ("failed", "was killed by SIGKILL"),
        ("succeeded", "exited with status 0"),
    ]


def test_a_trainer_that_always_dies_ends_the_job(bench: Callable[..., Bench]) -> None:
    """Attempts are counted in the database."""
    made = bench(DEAD)
    job = made.submit(max_attempts=2)

    made.supervisor().work()

    ended = made.job(job.id)
    assert (ended.state, ended.attempt) == ("failed", 2)
    assert ended.error == {
        "type": "trainer_crashed",
        "message": "the trainer was killed by SIGKILL",
    }


def test_nonsense_from_a_trainer_is_a_crash(bench: Callable[..., Bench]) -> None:
    """A trainer that cannot be understood is ended, and its job tried again."""
    made = bench('print("what?", flush=True); time.sleep(60)\n')
    job = made.submit(max_attempts=1)

    made.supervisor().work()

    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "trainer_crashed"


@pytest.mark.parametrize("mood", [OBEDIENT, STUBBORN], ids=["obedient", "stubborn"])
def test_a_cancel_stops_the_trainer(bench: Callable[..., Bench], mood: str) -> None:
    """At its next report, or by a kill after the grace."""
    made = bench(mood, stop_grace_seconds=0.3)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)

    with made.database.write() as connection:
        jobs.request_cancel(connection, OWNER, job.id, grace_seconds=60)
    thread.join(120)

    assert made.job(job.id).state == "cancelled"
    assert not made.started[0].is_alive()


def test_a_job_that_takes_too_long_fails(bench: Callable[..., Bench]) -> None:
    """timeout_seconds counts the time of a run."""
    made = bench(OBEDIENT)
    job = made.submit(timeout_seconds=1)

    made.supervisor().work()

    assert made.job(job.id).error == {
        "type": "timeout",
        "message": "it ran for longer than 1 seconds",
    }


def test_a_drain_hands_the_job_back(bench: Callable[..., Bench]) -> None:
    """A worker that goes down releases its job; the attempt is not counted."""
    made = bench(OBEDIENT)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)

    made.is_draining = True
    thread.join(120)

    assert (made.job(job.id).state, made.job(job.id).attempt) == ("queued", 0)
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["released"]


def test_a_frozen_run_that_lost_its_job_writes_nothing(bench: Callable[..., Bench]) -> None:
    """The trainer of a zombie is ended, its results are dropped, the successor's stay."""
    made = bench(PROGRESS + held() + SET_OUTPUT, SET_OUTPUT)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)
    with made.database.write() as connection:
        # As if this supervisor had been frozen for longer than its lease.
        connection.execute(
            jobs.jobs.update()
            .where(jobs.jobs.c.id == job.id)
            .values(lease_until_at=jobs.jobs.c.created_at)
        )
        runs.recover_lost(connection, job.id)
    thread.join(120)
    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    outcomes = [outcome for outcome, _ in made.outcomes(job.id)]
    assert outcomes == ["lost", "succeeded"]
    with made.database.read() as connection:
        assert len(list_results(connection, OWNER, "distilled_set", wanted=Wanted())) == 1


def test_scratch_of_a_lost_run_goes_with_the_next(bench: Callable[..., Bench]) -> None:
    """What a killed worker could not tidy up does not stay for ever."""
    made = bench(SET_OUTPUT)
    job = made.submit()
    (made.settings.work_folder / f"{job.id}-0").mkdir(parents=True)

    made.supervisor().work()

    assert list(made.settings.work_folder.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_told(bench: Callable[..., Bench]) -> None:
    """An error of the worker's own ends the attempt at once, not with its lease."""
    made = bench(SET_OUTPUT)
    made.settings.folder.mkdir(exist_ok=True)
    made.settings.work_folder.write_text("a file where a folder should be")
    job = made.submit(max_attempts=1)

    made.supervisor().work()

    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "worker_error"


def test_a_job_whose_input_is_gone_fails(bench: Callable[..., Bench]) -> None:
    """Something deleted between submission and start is told, not crashed over."""
    made = bench(SET_OUTPUT)
    missing = "set_" + "0" * 26
    job = made.submit(
        kind="train",
        params={"training_set": {"source": "distilled", "distilled_set": missing}},
    )

    made.supervisor().work()

    error = made.job(job.id).error
    assert error is not None
    assert error == {"type": "user_error", "message": f"there is no distilled set {missing}"}


def test_the_next_trainer_warms_up_while_one_works(bench: Callable[..., Bench]) -> None:
    """There is always one waiting, and each runs one job."""
    made = bench(SET_OUTPUT)
    made.submit()
    made.submit(reuse=False)
    supervisor = made.supervisor()

    assert supervisor.work() == 2

    assert len(made.started) == 3
    assert made.started[2].is_alive()
    supervisor.close()
    assert not made.started[2].is_alive()


def test_a_trainer_sees_no_settings_of_the_service(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """No database, broker or key in its environment, nor what else the service's holds."""
    seen = tmp_path / "environment.json"
    mood = f"pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))\n"
    made = bench(mood)
    secrets = {"DDCAL_API_KEY": "secret", "POSTGRES_PASSWORD": "secret"}
    os.environ.update(secrets)
    try:
        made.submit(max_attempts=1)
        made.supervisor().work()
    finally:
        for name in secrets:
            del os.environ[name]

    assert "PATH" in json.loads(seen.read_text())
    assert not secrets.keys() & json.loads(seen.read_text()).keys()


def upload(made: Bench) -> Job:
    """A data set that is being checked, with its file."""
    made.settings.upload_folder.mkdir(parents=True)
    (made.settings.upload_folder / "u.npz").write_bytes(b"x")
    job = made.submit(kind="intake", params={"upload": "u.npz"}, queue="intake", dataset="mine")
    with made.database.write() as connection:
        new = NewDataset(name="mine", sha256=hashlib.sha256(b"x").hexdigest(), n_bytes=1)
        insert_dataset(connection, OWNER, new, job)
    return job


def test_an_upload_found_good_is_ready(bench: Callable[..., Bench]) -> None:
    """The intake's facts make the data set usable; the uploaded file is gone."""
    facts = NAMED_DATASETS["mnist"].model_dump(mode="json")
    made = bench(
        "(folder / 't').write_text('t')\n"
        f"say(type='outputs', outputs=[dict(resource='dataset', values=dict(facts={facts!r}),"
        "files=[dict(name='train.safetensors', path=str(folder / 't'), media_type='a/b')])])\n"
    )
    upload(made)

    made.supervisor("intake").work()

    with made.database.read() as connection:
        dataset = find_dataset(connection, OWNER, "mine", made.settings)
    assert dataset.state == "ready"
    assert dataset.facts == NAMED_DATASETS["mnist"]
    assert list(made.settings.upload_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("mood", "code"),
    [
        (
            "say(type='rejected', problem=dict(code='bad_labels', detail='wanted and got'))\n",
            "bad_labels",
        ),
        (DEAD, "check_failed"),
    ],
    ids=["rejected", "check crashed"],
)
def test_an_upload_found_bad_is_rejected(bench: Callable[..., Bench], mood: str, code: str) -> None:
    """By verdict or by a check that cannot end; what waited for it fails; no file stays."""
    made = bench(mood)
    job = upload(made)
    waiting = made.submit(needs=(job.id,))

    made.supervisor("intake").work()

    with made.database.read() as connection:
        dataset = find_dataset(connection, OWNER, "mine", made.settings)
    assert dataset.state == "rejected"
    assert dataset.problem is not None
    assert dataset.problem["code"] == code
    assert made.job(waiting.id).state == "failed"
    assert list(made.settings.upload_folder.iterdir()) == []


def test_a_check_that_crashed_is_tried_again_on_the_same_file(
    bench: Callable[..., Bench],
) -> None:
    """The upload stays while attempts are left, and goes with the last."""
    read = "pathlib.Path(job['inputs']['upload_path']).read_text()"
    made = bench(
        DEAD, f"say(type='rejected', problem=dict(code='content', detail='it holds ' + {read}))\n"
    )
    job = upload(made)

    made.supervisor("intake").work()

    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["failed", "failed"]
    with made.database.read() as connection:
        dataset = find_dataset(connection, OWNER, "mine", made.settings)
    assert dataset.problem == {"code": "content", "detail": "it holds x"}
    assert list(made.settings.upload_folder.iterdir()) == []


def test_a_trainer_dies_with_its_supervisor(tmp_path: Path) -> None:
    """A kill -9 of the supervisor leaves no trainer behind, not even one that ignores signals."""
    note = tmp_path / "pid"
    # It says nothing more and reads nothing: no pipe that breaks ends it.
    busy = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        'print(\'{"type": "ready"}\', flush=True); time.sleep(600)'
    )
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from worker.supervisor.trainer_process import start_child\n"
        f"trainer = start_child([sys.executable, '-c', {busy!r}])\n"
        f"open({str(note)!r}, 'w').write(str(trainer.pid))\n"
        # Not before it is at work: one that only starts looks for its parent by itself.
        "import os, signal, time\n"
        "while not trainer.has_spoken(): time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program])
    assert status == -signal.SIGKILL

    pid = int(note.read_text())
    until(lambda: has_ended(pid))
