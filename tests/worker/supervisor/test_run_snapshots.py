"""Where runs leave pictures, and how they come to jobs that take others' work over."""

from collections.abc import Callable

from app.shared.engine import deletion
from app.shared.engine.snapshots import SnapshotStore
from app.shared.store.job_records import Job
from tests.worker.supervised import DEAD, OWNER, SET_OUTPUT, Bench

# Draws at a step that depends on the attempt: it goes on from a checkpoint where there is one.
DRAWING = """
pictures, checkpoint = pathlib.Path(job["snapshots"]), pathlib.Path(job["checkpoint"])
step = int(checkpoint.read_text()) if checkpoint.exists() else 0
for _ in range(2):
    (pictures / f"{step}.png").write_bytes(b"\\x89PNG\\r\\n\\x1a\\n" + pictures.name.encode())
    step += 10
checkpoint.write_text(str(step))
"""


def shown(made: Bench, job: Job) -> list[tuple[int, str]]:
    """The steps of a job's pictures, each with the folder it was drawn in."""
    store = SnapshotStore(made.settings.snapshot_folder)
    return [(one.step, store.read(job.id, one.step)[8:].decode()) for one in store.shown(job.id)]


def test_each_attempt_draws_into_a_folder_of_its_own(bench: Callable[..., Bench]) -> None:
    """Named by its fence; together they are what is shown, and go with the job."""
    made = bench(DRAWING + DEAD, DRAWING + SET_OUTPUT)
    job = made.submit()
    made.supervisor().work()
    assert made.job(job.id).state == "succeeded"
    assert shown(made, job) == [(0, "1"), (10, "1"), (20, "2"), (30, "2")]
    with made.database.write() as connection:
        deleted = deletion.delete_job(connection, OWNER, job.id)
    for one in deleted:
        deletion.delete_files(made.settings, one)
    assert list(made.settings.snapshot_folder.iterdir()) == []


def test_an_equal_job_has_the_pictures_of_the_one_it_takes_over(
    bench: Callable[..., Bench],
) -> None:
    """No trainer draws for it; they stay when the other is deleted."""
    made = bench(DRAWING + SET_OUTPUT)
    first, second = made.submit(), made.submit()
    made.supervisor().work()
    assert made.job(second.id).reused_from == first.id
    SnapshotStore(made.settings.snapshot_folder).delete(first.id)
    assert shown(made, second) == [(0, "1"), (10, "1")]


def test_a_job_that_goes_on_from_a_failed_one_s_checkpoint_has_its_pictures(
    bench: Callable[..., Bench],
) -> None:
    """Those before its own."""
    made = bench(DRAWING + DEAD, DRAWING + SET_OUTPUT)
    failed = made.submit(max_attempts=1)
    made.supervisor().work()
    assert made.job(failed.id).state == "failed"
    again = made.submit()
    made.supervisor().work()
    assert [step for step, _ in shown(made, again)] == [0, 10, 20, 30]
    anew = made.submit(reuse=False)
    made.supervisor().work()
    assert [step for step, _ in shown(made, anew)] == [0, 10]


def test_a_kind_that_draws_nothing_gets_no_folder(bench: Callable[..., Bench]) -> None:
    """There is nowhere to draw."""
    made = bench('say(type="failed", error={"type": "x", "message": repr(job["snapshots"])})\n')
    job = made.submit(
        kind="train", params={"training_set": {"source": "full"}, "dataset": "digits"}
    )
    made.supervisor().work()
    assert made.job(job.id).error == {"type": "x", "message": "None"}
    assert not made.settings.snapshot_folder.exists()
