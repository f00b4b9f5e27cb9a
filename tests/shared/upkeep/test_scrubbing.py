"""Scrubbing finds each file that has changed or gone, a few at a time, and changes nothing."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.shared.engine import runs
from app.shared.engine.deletion import delete_job
from app.shared.engine.jobs import insert_job
from app.shared.inputs.datasets import NewDataset, insert_dataset
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import artifacts_of_job, record_artifact, record_result
from app.shared.store.database import Database
from app.shared.store.job_records import Ending, Job
from app.shared.upkeep.scrubbing import (
    PASS_SECONDS,
    Scrubber,
    damaged_uploads,
    look_at_files,
    missing_files,
)
from tests.damage import flip_a_bit
from tests.shared.conftest import OWNER, new_job

N_FILES = 3
N_BYTES = 1000


@pytest.fixture
def made(
    database: Database,
    migrated_settings: Settings,
    submit: Callable[..., Job],
    claim: Callable[..., Job],
) -> Job:
    """A job whose result has three files of a thousand bytes."""
    job = submit()
    run = claim()
    store = ArtifactStore(migrated_settings.artifact_folder)
    migrated_settings.folder.mkdir(parents=True, exist_ok=True)
    with database.write() as connection:
        values = {"dataset": "digits", "method": "dm", "images_per_class": 1}
        set_id = record_result(connection, run, "distilled_set", values)
        for k in range(N_FILES):
            source = migrated_settings.folder / f"file-{k}"
            source.write_bytes(bytes([k]) * N_BYTES)
            stored = store.put(job.id, source)
            record_artifact(
                connection, run, set_id, name=source.name, media_type="a/b",
                sha256=stored.sha256, n_bytes=stored.n_bytes,
            )  # fmt: skip
        runs.succeed(connection, run, Ending())
    return job


@pytest.fixture
def paths(database: Database, migrated_settings: Settings, made: Job) -> list[Path]:
    """The files, in the order of their ids."""
    store = ArtifactStore(migrated_settings.artifact_folder)
    with database.read() as connection:
        rows = artifacts_of_job(connection, OWNER, made.id)
    return [store.path(row.job_id, row.sha256) for row in sorted(rows, key=lambda row: row.id)]


class Days:
    """A clock that a test advances by days."""

    def __init__(self) -> None:
        self.n = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.n * PASS_SECONDS


def damages(database: Database, settings: Settings) -> list[str | None]:
    """What is wrong with each file."""
    return [looked.damage for looked in look_at_files(database, settings)]


def test_each_file_is_looked_at(
    database: Database, migrated_settings: Settings, made: Job, paths: list[Path]
) -> None:
    """One whole, one altered, one gone; words name file, result and job; nothing is changed."""
    flip_a_bit(paths[1])
    paths[2].unlink()

    looked = list(look_at_files(database, migrated_settings))

    assert [one.damage is None for one in looked] == [True, False, False]
    assert str(looked[1]).startswith(f"file-1 of {looked[1].file.resource_id} ({made.id}, ")
    assert str(looked[2]).endswith(": it is missing")
    assert [path.exists() for path in paths] == [True, True, False]
    assert [file.name for file in missing_files(database, migrated_settings)] == ["file-2"]
    assert len(damages(database, migrated_settings)) == N_FILES


def test_what_the_page_cache_or_an_earlier_look_has_is_not_relied_on(
    database: Database, migrated_settings: Settings, paths: list[Path]
) -> None:
    """A file that was whole a moment ago is read again."""
    assert damages(database, migrated_settings) == [None] * N_FILES
    flip_a_bit(paths[0])
    assert damages(database, migrated_settings)[0] is not None


def test_a_round_reads_so_many_bytes_and_the_next_goes_on(
    database: Database, migrated_settings: Settings, paths: list[Path]
) -> None:
    """One file a round; after the last, none before the next day."""
    few = migrated_settings.model_copy(update={"scrub_bytes": N_BYTES})
    days = Days()
    scrubber = Scrubber(database, few, clock=days)
    for path in paths:
        flip_a_bit(path)

    found = []
    for _ in range(N_FILES + 3):
        scrubber.scrub()
        found.append(len(scrubber.damaged))
    assert found == [1, 2, 3, 3, 3, 3]

    flip_a_bit(paths[0])  # back
    days.n = 0.9
    scrubber.scrub()
    assert len(scrubber.damaged) == 3
    days.n = 1.1
    scrubber.scrub()
    assert len(scrubber.damaged) == 2


def test_what_goes_with_its_job_is_damaged_no_more(
    database: Database, migrated_settings: Settings, made: Job, paths: list[Path]
) -> None:
    """From the next pass on; and a file is not missed that was deleted while others were read."""
    days = Days()
    scrubber = Scrubber(database, migrated_settings, clock=days)
    flip_a_bit(paths[0])
    scrubber.scrub()
    assert len(scrubber.damaged) == 1

    looks = look_at_files(database, migrated_settings)
    next(looks)
    with database.write() as connection:
        delete_job(connection, OWNER, made.id)
    ArtifactStore(migrated_settings.artifact_folder).delete_job(made.id)
    assert list(looks) == []
    days.n = 2
    scrubber.scrub()
    assert scrubber.damaged == set()


def test_zero_bytes_switch_it_off(
    database: Database, migrated_settings: Settings, paths: list[Path]
) -> None:
    """Neither files nor database are looked at."""
    flip_a_bit(paths[0])
    scrubber = Scrubber(database, migrated_settings.model_copy(update={"scrub_bytes": 0}))
    scrubber.scrub()
    assert scrubber.damaged == set()


def test_a_stop_is_heeded_after_the_file_at_hand(
    database: Database, migrated_settings: Settings, paths: list[Path]
) -> None:
    """A process that goes down does not read everything first."""
    for path in paths:
        flip_a_bit(path)
    scrubber = Scrubber(database, migrated_settings)
    scrubber.scrub(is_stopping=lambda: True)
    assert len(scrubber.damaged) == 1


@pytest.fixture
def upload(database: Database, migrated_settings: Settings) -> Path:
    """A file that waits for its check."""
    path = migrated_settings.upload_folder / "upload_1.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"an upload")
    with database.write() as connection:
        params = {"upload": path.name}
        job = insert_job(connection, OWNER, new_job("intake", params=params, queue="intake"))
        sha256 = hashlib.sha256(b"an upload").hexdigest()
        insert_dataset(connection, OWNER, NewDataset(name="mine", sha256=sha256, n_bytes=9), job)
    return path


def out_of_reach(monkeypatch: pytest.MonkeyPatch, lost: Path, code: int = errno.EIO) -> None:
    """Let a disk, or the rights of a folder, keep a file from whoever looks at it."""
    stat = Path.stat

    def fail(path: Path, **options: Any) -> os.stat_result:
        if path == lost:
            raise OSError(code, os.strerror(code))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", fail)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_what_cannot_be_looked_at_is_told_of_like_what_is_missing(
    database: Database,
    migrated_settings: Settings,
    paths: list[Path],
    upload: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    """And keeps nobody from looking at the rest."""
    out_of_reach(monkeypatch, paths[1], code)
    assert [file.name for file in missing_files(database, migrated_settings)] == ["file-1"]
    looked = damages(database, migrated_settings)
    assert [damage is None for damage in looked] == [True, False, True]
    out_of_reach(monkeypatch, upload, code)
    (words,) = damaged_uploads(database, migrated_settings)
    assert words.startswith("the upload 'mine' (job_")


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink])
def test_uploads_that_wait_are_looked_at(
    database: Database,
    migrated_settings: Settings,
    upload: Path,
    damage: Callable[[Path], None],
) -> None:
    """Altered or gone; by the name that their owner gave them."""
    assert list(damaged_uploads(database, migrated_settings)) == []
    damage(upload)
    (words,) = damaged_uploads(database, migrated_settings)
    assert words.startswith("the upload 'mine' (job_")
