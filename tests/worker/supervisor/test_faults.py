"""What a supervisor makes of a database, a clock, a disk and a machine that let it down."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libfaketime
import pytest
from sqlalchemy import Connection, select, text

from app.shared.engine import runs
from app.shared.errors import UnavailableError
from app.shared.settings import Settings
from app.shared.store import artifacts
from app.shared.store.artifacts import ArtifactStore, StoredFile
from app.shared.store.catalog import Wanted, artifacts_of_job, list_results
from app.shared.store.database import Database, migrate, open_database
from app.shared.store.job_records import Job
from app.shared.store.lease_clock import lease_now
from app.shared.upkeep.reconciler import reconcile
from tests.servers import PostgresServer, fresh_postgres_database, postgres_server
from tests.waiting import until
from tests.worker.supervised import (
    OBEDIENT,
    OWNER,
    PROGRESS,
    SET_OUTPUT,
    AdvancedClock,
    Bench,
    held,
    in_background,
    wait_for_progress,
)
from worker.supervisor import supervisor as supervisor_module

ROOT = Path(__file__).parents[3]


# By a clock that the tests put forward, or longer than any of them takes.
LEASE_SECONDS = 600


def let_lease_pass(made: Bench) -> None:
    """By any clock."""
    with made.database.write() as connection:
        connection.execute(text("UPDATE jobs SET lease_until_at = 0"))


def slow(seconds: float) -> str:
    """A trainer that takes its time."""
    return f"{PROGRESS}time.sleep({seconds})\n{SET_OUTPUT}"


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server of this module's own, to be stopped."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def stoppable(own_postgres: PostgresServer, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Benches on that server."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(fresh_postgres_database(own_postgres.folder, "faults"))
        migrate(Settings(data_folder=tmp_path / "data", database_url=url))

        def make(*moods: str, lease_seconds: float) -> Bench:
            quick = {"lease_seconds": lease_seconds, "heartbeat_seconds": 0.1, "retry_seconds": 0}
            settings = Settings(data_folder=tmp_path / "data", database_url=url, **quick)
            made = Bench(open_database(settings), settings, list(moods))
            stack.callback(made.database.close)
            stack.callback(lambda: [trainer.end(0) for trainer in made.started])
            return made

        yield make


def without_database(server: PostgresServer, seconds: float) -> None:
    """Stop the server for so long."""
    server.stop()
    time.sleep(seconds)
    server.start()


def test_a_database_away_for_less_than_a_lease_costs_no_attempt(
    stoppable: Callable[..., Bench], own_postgres: PostgresServer
) -> None:
    """The trainer computes on; its supervisor keeps trying, and ends the job as if nothing were."""
    made = stoppable(PROGRESS + held() + SET_OUTPUT, lease_seconds=LEASE_SECONDS)
    job = made.submit()
    thread = in_background(made.supervisor())
    wait_for_progress(made, job.id)

    without_database(own_postgres, 0.3)
    made.let_go()
    thread.join(120)
    reconcile(made.database, made.settings)

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["succeeded"]


def test_a_database_away_for_longer_than_a_lease_costs_one_attempt(
    stoppable: Callable[..., Bench], own_postgres: PostgresServer
) -> None:
    """The supervisor ends its trainer by its own clock; when the database is back, one more run."""
    made = stoppable(OBEDIENT, SET_OUTPUT, lease_seconds=LEASE_SECONDS)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    own_postgres.stop()
    try:
        clock.ahead = LEASE_SECONDS
        until(lambda: not made.started[0].is_alive())
        thread.join(120)
    finally:
        own_postgres.start()
    let_lease_pass(made)
    until(lambda: reconcile(made.database, made.settings) or made.job(job.id).state == "queued")
    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["lost", "succeeded"]


class SilentDatabase(Database):
    """One that is there and, once it has fallen silent, does not answer until it may."""

    def __init__(self, database: Database) -> None:
        super().__init__(database._writing, database._reading, n_threads=1)
        self.is_silent = False
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may be kept waiting."""
        if self.is_silent:
            self.is_asked.set()
            assert self.may_answer.wait(120)
        with super().write() as connection:
            yield connection


@pytest.mark.long
def test_a_supervisor_kept_waiting_by_a_call_lets_go_within_the_lease(
    bench: Callable[..., Bench],
) -> None:
    """Its trainer is gone while it waits, before another may begin; what it writes is refused."""
    made = bench(OBEDIENT, SET_OUTPUT, lease_seconds=LEASE_SECONDS, heartbeat_seconds=1)
    made.database = silent = SilentDatabase(made.database)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    silent.is_silent = True
    assert silent.is_asked.wait(60)
    # Half a beat before the lease is over, its supervisor was heard of for the last time before.
    clock.ahead = LEASE_SECONDS - 0.5
    until_at = made.lease_end()
    until(lambda: not made.started[0].is_alive())
    with made.database.read() as connection:
        assert connection.execute(select(lease_now())).scalar_one().timestamp() * 1000 < until_at
    assert thread.is_alive()
    silent.is_silent = False
    let_lease_pass(made)
    until(lambda: reconcile(made.database, made.settings) or made.job(job.id).state == "queued")
    silent.may_answer.set()
    thread.join(120)
    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["lost", "succeeded"]


@pytest.mark.long
def test_a_database_that_answers_just_in_time_costs_one_attempt_and_no_lease(
    bench: Callable[..., Bench],
) -> None:
    """The trainer is gone, the job is still its supervisor's: it goes back to the queue at once."""
    made = bench(OBEDIENT, SET_OUTPUT, lease_seconds=LEASE_SECONDS, heartbeat_seconds=1)
    made.database = silent = SilentDatabase(made.database)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    silent.is_silent = True
    assert silent.is_asked.wait(60)
    clock.ahead = LEASE_SECONDS
    until(lambda: not made.started[0].is_alive())
    silent.is_silent = False
    silent.may_answer.set()
    thread.join(120)

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["failed", "succeeded"]


def test_a_quiet_trainer_is_left_alone_at_the_tightest_settings(
    bench: Callable[..., Bench],
) -> None:
    """As long as its supervisor beats, however little it says."""
    beat = LEASE_SECONDS // 3
    mood = PROGRESS + held() + SET_OUTPUT
    made = bench(mood, lease_seconds=3 * beat, heartbeat_seconds=beat)
    job, clock = made.submit(), AdvancedClock()
    thread = in_background(made.supervisor(clock=clock))
    wait_for_progress(made, job.id)

    for _ in range(5):  # more than a lease in all
        before = made.lease_end()
        clock.ahead += beat
        until(lambda before=before: made.lease_end() > before)
    made.let_go()
    thread.join(120)

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["succeeded"]


def test_a_bell_without_a_database_wakes_nobody_in_vain(
    stoppable: Callable[..., Bench], own_postgres: PostgresServer
) -> None:
    """No error of the worker's; the job waits, and begins at a later bell."""
    made = stoppable(SET_OUTPUT, lease_seconds=LEASE_SECONDS)
    job = made.submit()
    supervisor = made.supervisor()

    own_postgres.stop()
    try:
        assert supervisor.work() == 0
    finally:
        own_postgres.start()

    assert supervisor.work() == 1
    assert made.job(job.id).state == "succeeded"


class ForgetfulDatabase(Database):
    """Commits, and then breaks the connection before the answer comes, each second time."""

    n_writes = 0

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction whose fate the caller may not learn."""
        with super().write() as connection:
            yield connection
        self.n_writes += 1
        if self.n_writes % 2:
            raise UnavailableError("database_unavailable", "the connection broke")


def test_a_commit_whose_answer_is_lost_is_not_done_twice(bench: Callable[..., Bench]) -> None:
    """Claim, beats and end: whatever is sent again finds by the fence that it has been done."""
    made = bench(PROGRESS + held() + SET_OUTPUT, heartbeat_seconds=0.02)
    job = made.submit()
    supervisor = made.supervisor()
    forgetful = ForgetfulDatabase(made.database._writing, made.database._reading, n_threads=1)
    supervisor._database = forgetful

    with contextlib.suppress(UnavailableError):
        supervisor.work()  # the claim is committed, and nobody knows of it
    assert made.job(job.id).state == "running"
    let_lease_pass(made)
    reconcile(made.database, made.settings)
    thread = in_background(supervisor)
    until(lambda: forgetful.n_writes > 4)
    made.let_go()
    thread.join(120)

    assert made.job(job.id).state == "succeeded"
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["lost", "succeeded"]
    ends = [event for event in made.events(job.id, "state") if event.data["state"] == "succeeded"]
    assert len(ends) == 1
    with made.database.read() as connection:
        assert len(list_results(connection, OWNER, "distilled_set", wanted=Wanted())) == 1


def fill_disk(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the store's first temporary file lead to a device that is always full."""
    folder.mkdir(parents=True)
    (folder / ".full").symlink_to("/dev/full")
    names = iter([folder / ".full"])
    given = artifacts._temporary
    monkeypatch.setattr(artifacts, "_temporary", lambda at: next(names, None) or given(at))


def test_a_disk_that_is_full_for_a_while_costs_one_attempt(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written leaves nothing, and the next attempt finds room."""
    made = bench(SET_OUTPUT)
    job = made.submit()
    folder = made.settings.artifact_folder / job.id
    fill_disk(monkeypatch, folder)

    made.supervisor().work()

    assert made.job(job.id).state == "succeeded"
    outcomes = made.outcomes(job.id)
    assert [outcome for outcome, _ in outcomes] == ["failed", "succeeded"]
    with made.database.read() as connection:
        (file,) = artifacts_of_job(connection, OWNER, job.id)
    assert [path.name for path in folder.iterdir()] == [file.sha256]


def test_a_disk_that_stays_full_fails_the_job_by_name(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its attempts the job ends as disk_full, and no file of it is seen."""
    made = bench(SET_OUTPUT)
    job = made.submit(max_attempts=1)
    folder = made.settings.artifact_folder / job.id
    fill_disk(monkeypatch, folder)

    made.supervisor().work()

    error = made.job(job.id).error
    assert error is not None
    assert error["type"] == "disk_full"
    assert list(folder.iterdir()) == []


SKEWED = """
import sys, threading, time
from pathlib import Path
from app.shared.store.database import open_database
from app.shared.upkeep.reconciler import reconcile
from app.shared.settings import Settings
from tests.worker.supervised import Bench, PROGRESS, SET_OUTPUT
from worker.supervisor import programs
programs.PASSED_ON += ("FAKETIME",)  # or the library is loaded in trainers, and told nothing
settings = Settings()
print(time.time(), flush=True)
made = Bench(open_database(settings), settings, [sys.argv[1]])
def look():
    while True:
        reconcile(made.database, settings)
        time.sleep(0.1)
threading.Thread(target=look, daemon=True).start()
supervisor = made.supervisor()
assert supervisor.work() == 1
supervisor.close()
"""


@pytest.mark.parametrize("skew", ["+1h", "-1h"])
def test_a_worker_whose_clock_is_wrong_loses_and_takes_no_job(
    postgres_migrated: Settings, skew: str
) -> None:
    """A lease is compared by the database's clock alone: by the worker's it would have passed."""
    made = Bench(open_database(postgres_migrated), postgres_migrated, [])
    job = made.submit()
    library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
    quick = {"DDCAL_LEASE_SECONDS": "300", "DDCAL_HEARTBEAT_SECONDS": "0.1"}
    worker = subprocess.Popen(
        [sys.executable, "-c", SKEWED, slow(1)],
        cwd=ROOT,
        env={
            **os.environ,
            **quick,
            "DDCAL_DATA_FOLDER": str(postgres_migrated.folder),
            "DDCAL_DATABASE_URL": postgres_migrated.database_url,
            "LD_PRELOAD": str(library),
            "FAKETIME": skew,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    told = float(worker.stdout.readline())
    while worker.poll() is None:  # the other machine's reconciler, whose clock is right
        reconcile(made.database, postgres_migrated)
        time.sleep(0.1)
    worker.stdout.close()

    assert abs(abs(told - time.time()) - 3600) < 60
    assert worker.returncode == 0
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["succeeded"]
    ended = made.job(job.id)
    assert ended.ended_at is not None
    assert abs(ended.ended_at.timestamp() - time.time()) < 60
    made.database.close()


@pytest.fixture
def postgres_migrated(postgres_url: str, tmp_path: Path) -> Settings:
    """Settings on a migrated PostgreSQL."""
    settings = Settings(data_folder=tmp_path / "data", database_url=postgres_url)
    migrate(settings)
    return settings


def test_sessions_do_not_wait_for_ever(postgres_migrated: Settings) -> None:
    """A statement, a lock, a transaction left open and a dead line each have their time."""
    database = open_database(postgres_migrated)
    names = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
    with database.read() as connection:
        found = [connection.execute(text(f"SHOW {name}")).scalar() for name in names]
        line: Any = connection.connection.driver_connection
        told = line.info.get_parameters()
    database.close()
    assert found == ["10s", "3s", "15s"]
    assert (told["keepalives_idle"], told["tcp_user_timeout"]) == ("10", "20000")


def test_a_supervisor_frozen_inside_a_transaction_stops_nobody(
    postgres_migrated: Settings,
) -> None:
    """Its row is left alone by a pass that does not wait, and free once its session has ended."""
    made = Bench(open_database(postgres_migrated), postgres_migrated, [])
    frozen_job, other = made.submit(priority=1), made.submit()
    with made.database.write() as connection:
        for _ in (frozen_job, other):
            claimed = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=-1)
            assert claimed is not None
    may_time_out, thawed = threading.Event(), threading.Event()
    holding = (made.database, frozen_job.id, may_time_out, thawed)
    frozen = threading.Thread(target=_hold, args=holding)
    frozen.start()
    until(lambda: _n_idle(made.database) == 1)

    # Its session would keep the row for ever: a pass that waited would not end here.
    reconcile(made.database, made.settings)
    assert _n_idle(made.database) == 1
    assert made.job(other.id).state == "queued"
    assert made.job(frozen_job.id).state == "running"
    may_time_out.set()
    until(
        lambda: reconcile(made.database, made.settings) or made.job(frozen_job.id).state == "queued"
    )
    thawed.set()
    frozen.join()
    made.database.close()


def _hold(
    database: Database, job_id: str, may_time_out: threading.Event, thawed: threading.Event
) -> None:
    """Lock a job's row and fall silent, first without a limit, then with a short one."""
    limit = "SET idle_in_transaction_session_timeout = "
    with contextlib.suppress(UnavailableError), database.write() as connection:
        connection.execute(text(f"{limit}0"))
        connection.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
        may_time_out.wait(120)
        connection.execute(text(f"{limit}'1s'"))
        thawed.wait(120)


def _n_idle(database: Database) -> int:
    query = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    with database.read() as connection:
        return int(connection.execute(text(query)).scalar_one())


LARGE_OUTPUT = SET_OUTPUT.replace('write_text("{}")', "write_bytes(bytes(20 << 20))")


def is_storing(made: Bench) -> bool:
    """Whether a result has begun to be copied, and has not ended."""
    return any(made.settings.artifact_folder.glob("*/.*"))


def test_the_lease_is_prolonged_while_a_large_result_is_stored(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beat may come after each MiB."""
    made = bench(LARGE_OUTPUT)
    job = made.submit()
    beats, beat, clock = [], runs.beat, AdvancedClock()

    def count(*args: Any, **options: Any) -> str | None:
        beats.append(is_storing(made))
        return beat(*args, **options)

    def hasty() -> float:
        clock.ahead += 1  # more than a heartbeat whenever it is asked
        return clock()

    monkeypatch.setattr(runs, "beat", count)
    made.supervisor(clock=hasty).work()

    assert made.job(job.id).state == "succeeded"
    assert sum(beats) >= 20


def test_a_run_that_is_given_up_while_it_is_stored_is_copied_no_further(
    bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its successor writes the same files."""
    made = bench(LARGE_OUTPUT)
    job = made.submit()
    clock, beat, n_stored = AdvancedClock(), runs.beat, []
    put = ArtifactStore.put

    def silent(*args: Any, **options: Any) -> str | None:
        if is_storing(made):
            clock.ahead += 1000
            until(lambda: "giving it up" in caplog.text)
            raise UnavailableError("unavailable", "the database is away")
        return beat(*args, **options)

    def counted(*args: Any, **options: Any) -> StoredFile:
        stored = put(*args, **options)
        n_stored.append(1)
        return stored

    def hasty() -> float:
        clock.ahead += 0.1
        return clock()

    monkeypatch.setattr(runs, "beat", silent)
    monkeypatch.setattr(ArtifactStore, "put", counted)
    made.supervisor(clock=hasty).work()

    assert (n_stored, made.job(job.id).state) == ([], "running")
    assert not is_storing(made)


@pytest.mark.parametrize("error", [KeyError("params"), ValueError("an old row")])
def test_an_error_of_the_supervisors_own_ends_the_attempt_at_once(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Its lease is not waited for, the job says what it was, and the next job is run."""
    made = bench(SET_OUTPUT)
    job, other = made.submit(max_attempts=2, priority=1), made.submit()
    inputs_of = supervisor_module.inputs_of

    def fail(connection: Connection, run: Job, *rest: Any) -> Any:
        if run.id == job.id:
            raise error
        return inputs_of(connection, run, *rest)

    monkeypatch.setattr(supervisor_module, "inputs_of", fail)
    made.supervisor().work()

    told = made.job(job.id).error
    assert told is not None
    assert (told["type"], made.job(job.id).state) == ("worker_error", "failed")
    assert type(error).__name__ in told["message"]
    assert [outcome for outcome, _ in made.outcomes(job.id)] == ["failed", "failed"]
    assert made.job(other.id).state == "succeeded"


def test_a_trainer_that_is_not_understood_is_told_of_as_such(bench: Callable[..., Bench]) -> None:
    """Not as one that its supervisor has ended for nothing."""
    made = bench('sys.stdout.write("no message\\n"); sys.stdout.flush(); time.sleep(3600)\n')
    job = made.submit(max_attempts=1)
    made.supervisor().work()
    told = made.job(job.id).error
    assert told is not None
    assert told["type"] == "trainer_crashed"
    assert told["message"].startswith("the trainer was not understood: ")
