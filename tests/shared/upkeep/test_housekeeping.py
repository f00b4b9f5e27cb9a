"""Housekeeping: what nobody will read again goes, what somebody might stays; looking is free."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from app.shared.engine import runs
from app.shared.engine.checkpoints import CheckpointStore
from app.shared.engine.deletion import delete_files, delete_job
from app.shared.engine.jobs import insert_composite, insert_job
from app.shared.errors import ConflictError
from app.shared.settings import Settings
from app.shared.store import tables
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import (
    Artifact,
    artifacts_of_job,
    record_artifact,
    record_result,
)
from app.shared.store.database import Database, db_now
from app.shared.store.job_records import Ending, Job
from app.shared.upkeep import housekeeping
from app.shared.upkeep.housekeeping import Count, keep_house, look_round
from app.shared.upkeep.scrubbing import missing_files
from app.shared.upkeep.waste import Waste, waste_by_rule
from tests.shared.conftest import OWNER, new_job

DAY = 86_400
SET = {"dataset": "digits", "method": "dm", "images_per_class": 1}


@pytest.fixture
def house(migrated_settings: Settings) -> Settings:
    """Settings under which a file is old at once; nothing is kept for long."""
    return migrated_settings.model_copy(update={"leftover_seconds": 0.0})


def kept(house: Settings, **values: object) -> Settings:
    """The same with other limits."""
    return house.model_copy(update=values)


def went(database: Database, settings: Settings) -> dict[str, tuple[int, int]]:
    """What one round removes, rule by rule; a look before must have found just that."""
    before = tree(settings.folder)
    seen = look_round(database, settings)
    assert tree(settings.folder) == before
    done = keep_house(database, settings)
    assert seen == done
    return {count.rule: (count.n, count.n_bytes) for count in done if count.n}


def tree(folder: Path) -> list[str]:
    """All files and folders below, but the database's own."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(name for name in found if "sqlite" not in name)


def put(settings: Settings, job_id: str, content: bytes, name: str = "made") -> str:
    """A file in the artifact store; gives its hash."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    source = settings.folder / name
    source.write_bytes(content)
    stored = ArtifactStore(settings.artifact_folder).put(job_id, source)
    source.unlink()
    time.sleep(0.01)  # older than nothing
    return stored.sha256


def files_of(database: Database, job: Job) -> list[Artifact]:
    """The rows of a job's files."""
    with database.read() as connection:
        return artifacts_of_job(connection, OWNER, job.id)


@pytest.fixture
def finish(database: Database, house: Settings, claim: Callable[..., Job]) -> Callable[..., Job]:
    """End a job well with one set of so many bytes, ended so many days ago."""

    def end(job: Job, n_bytes: int = 10, days: float = 0, resource: str = "distilled_set") -> Job:
        run = claim()
        assert run.id == job.id
        sha256 = put(house, job.id, os.urandom(n_bytes))
        values = SET if resource == "distilled_set" else {"dataset": "digits", "n_experts": 1}
        with database.write() as connection:
            result_id = record_result(connection, run, resource, values)
            record_artifact(
                connection, run, result_id, name="a", media_type="b", sha256=sha256, n_bytes=n_bytes
            )
            runs.succeed(connection, run, Ending())
        with database.write() as connection:
            change = update(tables.jobs).where(tables.jobs.c.id == job.id)
            connection.execute(change.values(ended_at=db_now(-days * DAY)))
        return job

    return end


def ids_of(database: Database) -> set[str]:
    """All jobs there are."""
    with database.read() as connection:
        return set(connection.execute(select(tables.jobs.c.id)).scalars())


# Files


def test_an_empty_house_is_in_order(database: Database, house: Settings) -> None:
    """Nothing is found where there is nothing, folders not yet made."""
    assert went(database, house) == {}
    assert list(missing_files(database, house)) == []


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        ("queued", True),
        ("blocked", True),
        ("running", False),
        ("cancelling", False),
        ("succeeded", True),
        ("failed", True),
        ("cancelled", True),
    ],
)
def test_a_file_no_row_names_goes_unless_a_run_may_name_it_yet(
    database: Database,
    house: Settings,
    in_state: Callable[[str], Job],
    state: str,
    goes: bool,
) -> None:
    """Bytes come first, then the row: so not while a run is at work. Nor a half copy."""
    job = in_state(state)
    put(house, job.id, b"12345")
    (house.artifact_folder / job.id / ".99-made").write_bytes(b"12")
    time.sleep(0.01)
    expected = {"files that no row names": (2, 7)} if goes else {}
    assert went(database, house) == expected
    assert len(list((house.artifact_folder / job.id).iterdir())) == (0 if goes else 2)


def test_a_young_file_stays_and_so_does_one_with_a_row(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """An hour is left to whoever is at it; one just linked from an old file is young too."""
    job = finish(submit())
    store = ArtifactStore(house.artifact_folder)
    (row,) = files_of(database, job)
    old = replace(row, sha256=put(house, job.id, b"old"))
    os.utime(store.path(job.id, old.sha256), (1, 1))
    other = submit()
    store.take_over(old, other.id)
    assert went(database, kept(house, leftover_seconds=3600)) == {}
    assert went(database, house) == {"files that no row names": (2, 6)}
    assert len(list((house.artifact_folder / job.id).iterdir())) == 1
    assert list(missing_files(database, house)) == []


def test_what_a_deleted_job_has_left_goes_but_not_another_databases(
    database: Database, house: Settings, submit: Callable[..., Job]
) -> None:
    """A kill between the commit and the files; what is older than every job here stays."""
    first, gone = submit(), submit()
    foreign = "job_" + "0" * 26
    for job_id in (gone.id, foreign):
        put(house, job_id, b"123")
        house.log_folder.mkdir(exist_ok=True)
        (house.log_folder / f"{job_id}.log").write_text("line")
        (house.snapshot_folder / job_id / "1").mkdir(parents=True)
        (house.snapshot_folder / job_id / "1" / "0.png").write_bytes(b"12")
    (house.log_folder / "service-api.log").write_text("ours")
    with database.write() as connection:
        connection.execute(delete(tables.jobs).where(tables.jobs.c.id == gone.id))
    time.sleep(0.01)
    assert went(database, kept(house, leftover_seconds=3600)) == {}
    assert went(database, house) == {
        "files that no row names": (1, 3),
        "logs of jobs that are gone": (1, 4),
        "snapshots of jobs that are gone": (1, 2),
    }
    left = tree(house.folder)
    assert f"artifacts/{foreign}" in left
    assert [name for name in left if name.startswith("logs/")] == [
        f"logs/{foreign}.log",
        "logs/service-api.log",
    ]
    assert f"snapshots/{foreign}/1/0.png" in left
    assert not any(name.startswith(f"snapshots/{gone.id}") for name in left)
    with database.write() as connection:
        connection.execute(delete(tables.jobs).where(tables.jobs.c.id == first.id))
    assert went(database, house) == {}


def test_a_run_that_begins_meanwhile_keeps_its_files(
    database: Database, house: Settings, submit: Callable[..., Job], claim: Callable[..., Job]
) -> None:
    """Found while it waited, claimed before it went: what the run then names is there."""
    job = submit()
    put(house, job.id, b"123")
    (waste,) = waste_by_rule(database, house)["files that no row names"]
    run = claim()
    assert not waste.remove()
    sha256 = put(house, job.id, b"123")
    with database.write() as connection:
        result = record_result(connection, run, "distilled_set", SET)
        record_artifact(connection, run, result, name="a", media_type="b", sha256=sha256, n_bytes=3)
        runs.succeed(connection, run, Ending())
    assert waste.remove()
    assert list(missing_files(database, house)) == []


def test_a_missing_file_is_told_of_and_its_row_stays(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """Somebody may have it in a backup."""
    job, other = finish(submit()), finish(submit())
    delete_files(house, job.id)
    assert went(database, house) == {}
    assert [row.job_id for row in missing_files(database, house)] == [job.id]
    assert {job.id, other.id} <= ids_of(database)


def test_scratch_folders_go_with_their_run(
    database: Database, house: Settings, in_state: Callable[[str], Job]
) -> None:
    """An earlier run's of a job at work, one of a job that has ended, one of none."""
    running, ended = in_state("running"), in_state("failed")
    mine = f"{running.id}-{running.fence}"
    for name in (mine, f"{running.id}-0", f"{ended.id}-1", f"job_{'z' * 26}-1", "note"):
        (house.work_folder / name).mkdir(parents=True)
        (house.work_folder / name / "file").write_bytes(b"1234")
    assert went(database, house) == {"scratch folders of runs that are over": (3, 12)}
    assert {path.name for path in house.work_folder.iterdir()} == {mine, "note"}


def test_checkpoints_go_by_their_own_rule(
    database: Database, house: Settings, in_state: Callable[[str], Job]
) -> None:
    """The same that a worker applies after each job."""
    store = CheckpointStore(house.checkpoint_folder)
    kept_one, gone = in_state("running"), in_state("succeeded")
    for job in (kept_one, gone):
        store.open(job.id).write_bytes(b"state")
    assert went(database, house) == {"checkpoints that no run will read": (1, 5)}
    assert [path.name for path in house.checkpoint_folder.iterdir()] == [kept_one.id]


def test_uploads_go_when_no_job_waits_and_nobody_writes(
    database: Database, house: Settings, submit: Callable[..., Job]
) -> None:
    """Half an upload of a killed process; never one being written, nor one to be checked."""
    house.upload_folder.mkdir(parents=True)
    names = ("upload_left.zip", "upload_written.zip", "upload_awaited.zip", "note.txt")
    left, written, *_ = paths = [house.upload_folder / name for name in names]
    for path in paths:
        path.write_bytes(b"123")
    submit(kind="intake", queue="intake", params={"upload": "upload_awaited.zip"})
    with written.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert went(database, house) == {"uploads that no job waits for": (1, 3)}
        assert not left.exists()
    assert went(database, house) == {"uploads that no job waits for": (1, 3)}
    assert len(list(house.upload_folder.iterdir())) == 2


def test_keys_are_forgotten_with_time(database: Database, house: Settings) -> None:
    """A request sent again within a week is the same one."""
    row = {"owner_id": OWNER, "path": "/v1/jobs", "fingerprint": "0", "resource_id": "job_a"}
    with database.write() as connection:
        for key, days in (("old", 8), ("new", 6)):
            values = {**row, "key": key, "created_at": db_now(-days * DAY)}
            connection.execute(insert(tables.idempotency_keys).values(values))
    assert went(database, house) == {"old keys of requests": (1, 0)}
    assert went(database, house) == {}


# Jobs past their keeping


def test_nothing_is_past_its_keeping_unless_asked(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """Off by default, however old."""
    finish(submit(), days=10_000)
    finish(submit(kind="experts"), days=10_000, resource="expert_set")
    assert went(database, house) == {}


def test_old_jobs_go_with_all_they_have(
    database: Database,
    house: Settings,
    submit: Callable[..., Job],
    finish: Callable[..., Job],
    in_state: Callable[[str], Job],
) -> None:
    """By the time they ended; no unended one, no upload's check, no young one."""
    old, young = finish(submit(), n_bytes=40, days=3), finish(submit(), days=1)
    intake = finish(submit(kind="intake"), days=9)
    waiting = in_state("queued")
    (house.log_folder).mkdir(exist_ok=True)
    (house.log_folder / f"{old.id}.log").write_text("line")
    assert went(database, kept(house, kept_job_days=2.0)) == {
        "ended jobs past their keeping": (1, 40)
    }
    assert ids_of(database) == {young.id, intake.id, waiting.id}
    assert not any(old.id in name for name in tree(house.folder))
    with database.read() as connection:
        assert len(connection.execute(select(tables.artifacts.c.id)).all()) == 2


def test_an_export_keeps_nothing_that_it_was_made_from(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """It is the result once more: they go together, however young it is."""
    old = finish(submit(), n_bytes=40, days=3)
    export = finish(submit(kind="export", needs=(old.id,)), days=1)
    assert went(database, kept(house, kept_job_days=2.0)) == {
        "ended jobs past their keeping": (1, 40)
    }
    assert not {old.id, export.id} & ids_of(database)
    assert list(house.artifact_folder.iterdir()) == []


def test_the_newest_jobs_stay_that_fit(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """By the bytes of their files, the last ended first."""
    made = [finish(submit(), n_bytes=100, days=3 - k) for k in range(3)]
    assert went(database, kept(house, kept_job_bytes=300)) == {}
    assert went(database, kept(house, kept_job_bytes=250)) == {
        "ended jobs past their keeping": (1, 100)
    }
    assert ids_of(database) == {job.id for job in made[1:]}
    assert went(database, kept(house, kept_job_bytes=0)) == {
        "ended jobs past their keeping": (2, 200)
    }


def test_a_job_stays_as_long_as_one_that_was_made_from_it(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """However old; and both go in one round when the later one is old, too."""
    maker = finish(submit(), days=9)
    user = finish(submit(needs=(maker.id,)), days=1)
    assert went(database, kept(house, kept_job_days=5.0)) == {}
    assert ids_of(database) == {maker.id, user.id}
    both = {"ended jobs past their keeping": (2, 20)}
    assert went(database, kept(house, kept_job_days=0.5)) == both


def test_a_pipeline_goes_whole(
    database: Database, house: Settings, finish: Callable[..., Job]
) -> None:
    """With its children, which need each other; its age is its own."""
    parts = [new_job(), new_job()]
    chain = [parts[0], new_job(id=parts[1].id, needs=(parts[0].id,))]
    with database.write() as connection:
        pipeline = insert_composite(connection, OWNER, new_job("pipeline", queue=""), chain)
    for part in chain:
        finish(part, days=30)
    assert went(database, kept(house, kept_job_days=2.0)) == {}
    with database.write() as connection:
        change = update(tables.jobs).where(tables.jobs.c.id == pipeline.id)
        connection.execute(change.values(ended_at=db_now(-3 * DAY)))
    assert went(database, kept(house, kept_job_days=2.0)) == {
        "ended jobs past their keeping": (1, 20)
    }
    assert ids_of(database) == set()


def test_experts_go_by_their_last_use(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """What was distilled by them stays; a distillation still to come keeps them."""
    finish(submit(kind="experts"), 100, days=9, resource="expert_set")
    used = finish(submit(kind="experts"), 100, days=9, resource="expert_set")
    distilled = finish(submit(needs=(used.id,)), days=4)
    needed = finish(submit(kind="experts"), 100, days=9, resource="expert_set")
    waiting = submit(needs=(needed.id,))
    assert went(database, kept(house, kept_expert_days=10.0)) == {}
    keep_house(database, kept(house, kept_expert_days=5.0))
    assert ids_of(database) == {used.id, distilled.id, needed.id, waiting.id}
    keep_house(database, kept(house, kept_expert_days=3.0))
    assert ids_of(database) == {distilled.id, needed.id, waiting.id}
    keep_house(database, kept(house, kept_expert_bytes=0))
    assert needed.id in ids_of(database)


def test_a_submission_that_names_a_job_and_its_deletion_do_not_miss_each_other(
    database: Database, house: Settings, finish: Callable[..., Job]
) -> None:
    """A child of a pipeline is named while the pipeline goes: one of the two is refused."""
    part = new_job()
    with database.write() as connection:
        pipeline = insert_composite(connection, OWNER, new_job("pipeline", queue=""), [part])
    finish(part, days=30)
    told: list[str] = []
    is_connected = threading.Event()

    def forget() -> None:
        ids_of(database)
        is_connected.set()
        try:
            with database.write() as connection:
                delete_job(connection, OWNER, pipeline.id)
        except ConflictError as error:
            told.append(error.code)

    with database.write() as connection:
        insert_job(connection, OWNER, new_job(needs=(part.id,)))
        thread = threading.Thread(target=forget)
        thread.start()
        assert is_connected.wait(30)
        time.sleep(0.5)
    thread.join(30)
    assert told == ["job_needed"]
    assert part.id in ids_of(database)


def test_copies_that_keep_house_at_once_remove_each_thing_once(
    database: Database, house: Settings, submit: Callable[..., Job], finish: Callable[..., Job]
) -> None:
    """What one has removed, the others count not."""
    for _ in range(4):
        finish(submit(), days=9)
        put(house, submit(priority=-1).id, b"123")
    limits = kept(house, kept_job_days=2.0)
    counted: list[list[Count]] = []
    threads = [
        threading.Thread(target=lambda: counted.append(keep_house(database, limits)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(counted) == 3
    jobs_gone = [count.n for counts in counted for count in counts if "ended jobs" in count.rule]
    assert sum(jobs_gone) == 4
    assert went(database, limits) == {}


def test_what_cannot_be_removed_or_looked_for_keeps_nothing_else(
    database: Database, house: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that went read-only, or a folder that is somebody else's."""
    gone: list[str] = []

    def refuse() -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    def remove(name: str) -> bool:
        gone.append(name)
        return True

    def broken() -> Iterator[Waste]:
        yield Waste("b1", 1, partial(remove, "b1"))
        raise OSError(errno.EIO, "Input/output error")

    rules = {
        "a": iter([Waste("a1", 1, refuse), Waste("a2", 2, partial(remove, "a2"))]),
        "b": broken(),
        "c": iter([Waste("c1", 3, partial(remove, "c1"))]),
    }
    monkeypatch.setattr(housekeeping, "waste_by_rule", lambda *_: rules)
    counts = keep_house(database, house)
    assert gone == ["a2", "b1", "c1"]
    assert [(count.n, count.n_bytes) for count in counts] == [(1, 2), (1, 1), (1, 3)]
