"""Pictures of jobs' runs: what is shown of several runs, and what a job takes over."""

import os
from pathlib import Path

import pytest

from app.shared.engine.snapshots import MAX_BYTES, MOST_FILES, SnapshotStore
from app.shared.errors import NotFoundError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """A store of its own."""
    return SnapshotStore(tmp_path / "snapshots")


def draw(tmp_path: Path, job_id: str, fence: int, *steps: int) -> Path:
    """As a run's trainer leaves them: each picture says whose it is."""
    folder = tmp_path / "snapshots" / job_id / str(fence)
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        (folder / f"{step}.png").write_bytes(PNG + f"{fence}:{step}".encode())
    return folder


def shown(store: SnapshotStore, job_id: str) -> list[tuple[int, str]]:
    """Each step, and the run that has drawn it."""
    told = [
        (one.step, store.read(job_id, one.step)[len(PNG) :].decode()) for one in store.shown(job_id)
    ]
    return [(step, said.split(":")[0]) for step, said in told]


def test_pictures_come_by_their_steps(store: SnapshotStore, tmp_path: Path) -> None:
    """As numbers, whatever order the folder has them in."""
    draw(tmp_path, "job_a", 1, 100, 0, 20)
    assert [one.step for one in store.shown("job_a")] == [0, 20, 100]
    assert [one.n_bytes for one in store.shown("job_a")] == [11, 12, 13]
    assert store.shown("job_b") == []


def test_a_later_run_stands_in_place_of_what_it_goes_over_again(
    store: SnapshotStore, tmp_path: Path
) -> None:
    """What came before its first picture stays; what is beyond goes, drawn anew or not."""
    draw(tmp_path, "job_a", 1, 0, 10, 20, 30, 40)
    draw(tmp_path, "job_a", 2, 30)
    assert shown(store, "job_a") == [(0, "1"), (10, "1"), (20, "1"), (30, "2")]
    draw(tmp_path, "job_a", 10, 20, 30)
    assert shown(store, "job_a") == [(0, "1"), (10, "1"), (20, "10"), (30, "10")]
    draw(tmp_path, "job_a", 11, 0)
    assert shown(store, "job_a") == [(0, "11")]


def test_a_lost_run_that_goes_on_replaces_nothing(store: SnapshotStore, tmp_path: Path) -> None:
    """It does not know that the job is another's by now; its folder is its own."""
    draw(tmp_path, "job_a", 1, 0, 10, 20)
    draw(tmp_path, "job_a", 2, 20)
    draw(tmp_path, "job_a", 1, 20, 30, 40)
    assert shown(store, "job_a") == [(0, "1"), (10, "1"), (20, "2")]


def test_pictures_taken_over_are_each_job_s_own(store: SnapshotStore, tmp_path: Path) -> None:
    """Those shown, as of a run before the first; either job can be deleted."""
    draw(tmp_path, "job_a", 1, 0, 10, 20)
    draw(tmp_path, "job_a", 2, 20, 30)
    store.take_over("job_a", "job_b")
    store.take_over("job_a", "job_b")
    store.delete("job_a")
    assert store.shown("job_a") == []
    assert shown(store, "job_b") == [(0, "1"), (10, "1"), (20, "2"), (30, "2")]
    draw(tmp_path, "job_b", 1, 20)
    assert shown(store, "job_b") == [(0, "1"), (10, "1"), (20, "1")]
    store.take_over("job_of_nothing", "job_c")
    assert not (tmp_path / "snapshots" / "job_c").exists()


def test_only_pictures_are_shown(store: SnapshotStore, tmp_path: Path) -> None:
    """Whatever else a run leaves: what is half written, a link, a pipe, what is no picture."""
    folder = draw(tmp_path, "job_a", 1, 7)
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG + b"1:0")
    (folder / "1.png").symlink_to(secret)
    os.mkfifo(folder / "2.png")
    (folder / "3.png").mkdir()
    for name in ("4.part", "05.png", "-6.png", "x.png", "9999999999.png"):
        (folder / name).write_bytes(PNG)
    (folder.parent / "x").mkdir()
    assert [one.step for one in store.shown("job_a")] == [7]
    (folder / "8.png").write_bytes(b"<html>")
    (folder / "9.png").write_bytes(PNG + bytes(MAX_BYTES))
    for step in (1, 2, 3, 8, 9, 10):
        with pytest.raises(NotFoundError):
            store.read("job_a", step)


def test_a_run_that_draws_without_end_is_not_followed(store: SnapshotStore, tmp_path: Path) -> None:
    """So many of its files are looked at."""
    folder = draw(tmp_path, "job_a", 1)
    for step in range(MOST_FILES + 50):
        (folder / f"{step}.png").touch()
    assert len(store.shown("job_a")) == MOST_FILES
