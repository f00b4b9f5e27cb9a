"""Checkpoints in folders of jobs: they outlive attempts, and go when nobody will read them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.shared.engine.checkpoints import FILE_NAME, CheckpointStore
from app.shared.store.database import Database
from app.shared.store.job_records import Job


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """A store of its own."""
    return CheckpointStore(tmp_path / "checkpoints")


def write(store: CheckpointStore, job_id: str, content: bytes = b"state") -> Path:
    """As a trainer leaves it."""
    path = store.open(job_id)
    path.write_bytes(content)
    return path


def tidy(store: CheckpointStore, database: Database, kept_bytes: int = 100) -> None:
    """Tidy up with what stands in the database."""
    with database.read() as connection:
        store.tidy(connection, kept_bytes=kept_bytes)


def test_it_is_the_same_file_in_each_attempt(store: CheckpointStore) -> None:
    """Opening again changes nothing."""
    path = write(store, "job_a")
    assert store.open("job_a") == path
    assert path.read_bytes() == b"state"
    assert path.name == FILE_NAME


def test_what_a_lost_run_has_left_half_written_goes_with_time(store: CheckpointStore) -> None:
    """An old temporary file goes; one just written may be another run's, which is at work."""
    folder = write(store, "job_a").parent
    for name in ("old", "new"):
        (folder / name).write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(folder / "old", (two_hours_ago, two_hours_ago))
    store.open("job_a")
    assert {path.name for path in folder.iterdir()} == {FILE_NAME, "new"}


def test_a_checkpoint_taken_over_is_each_job_s_own(store: CheckpointStore) -> None:
    """Replaced or deleted by one, the other still has it; one's own is never overwritten."""
    theirs = write(store, "job_a")
    assert store.take_over("job_a", "job_b")
    ours = store.open("job_b")
    assert ours.read_bytes() == b"state"
    newer = ours.with_name("newer")
    newer.write_bytes(b"further")
    newer.replace(ours)
    assert theirs.read_bytes() == b"state"
    assert not store.take_over("job_a", "job_b")
    store.delete("job_a")
    assert ours.read_bytes() == b"further"
    assert not store.take_over("job_a", "job_c")


@pytest.mark.parametrize(
    ("state", "stays"),
    [
        ("blocked", True),
        ("queued", True),
        ("running", True),
        ("cancelling", True),
        ("failed", True),
        ("succeeded", False),
        ("cancelled", False),
    ],
)
def test_only_what_may_be_read_again_stays(
    database: Database,
    store: CheckpointStore,
    in_state: Callable[[str], Job],
    state: str,
    stays: bool,
) -> None:
    """A job still to run needs its own; a failed one's is for another of its recipe."""
    path = write(store, in_state(state).id)
    tidy(store, database)
    assert path.exists() == path.parent.exists() == stays


def test_the_checkpoint_of_a_deleted_job_goes(database: Database, store: CheckpointStore) -> None:
    """A folder of no job is nobody's."""
    path = write(store, "job_gone")
    tidy(store, database)
    assert not path.parent.exists()


def test_failed_jobs_keep_so_many_bytes_in_all(
    database: Database, store: CheckpointStore, in_state: Callable[[str], Job]
) -> None:
    """The oldest go; those of jobs still to run are not counted against it."""
    paths = [write(store, in_state("failed").id, b"x" * 40) for _ in range(3)]
    waiting = write(store, in_state("queued").id, b"x" * 1000)
    tidy(store, database, kept_bytes=100)
    assert [path.exists() for path in paths] == [False, True, True]
    tidy(store, database, kept_bytes=0)
    assert [path.exists() for path in paths] == [False] * 3
    assert waiting.exists()
