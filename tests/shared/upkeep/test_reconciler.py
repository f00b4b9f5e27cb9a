"""What the reconciler and the relay do for lost runs, lost rings and missed settlings."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, update

from app.shared.engine import jobs, runs
from app.shared.engine.events import list_events
from app.shared.engine.queue import relay_rings
from app.shared.errors import FencedOutError
from app.shared.settings import Settings
from app.shared.store.database import Database, db_now
from app.shared.store.job_queries import attempts_of, find_job
from app.shared.store.job_records import Ending, Job, NewJob
from app.shared.store.tables import outbox
from app.shared.upkeep import reconciler
from app.shared.upkeep.reconciler import reconcile, start_background
from tests.shared.conftest import OWNER, cancel, new_job, state_of
from tests.waiting import until

Submit = Callable[..., Job]
Claim = Callable[..., Job | None]
LOST = -1.0  # a lease that has already run out


class Bell:
    """A doorbell that remembers its rings, or is broken."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.rung: list[str] = []
        self.is_broken = is_broken
        self.heard = threading.Event()

    def ring(self, queue: str) -> None:
        """Remember."""
        if self.is_broken:
            raise OSError("no broker")
        self.rung.append(queue)
        self.heard.set()


def test_a_lost_run_is_queued_again_and_its_zombie_refused(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """Edge h, by the lease."""
    job = submit()
    zombie = claim(LOST)
    assert zombie is not None

    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "queued"
    with database.read() as connection:
        attempts = attempts_of(connection, OWNER, job.id)
        told = list_events(connection, OWNER, job.id)[-1].data
    assert [attempt.outcome for attempt in attempts] == ["lost"]
    assert (told["state"], told["error"]["type"]) == ("queued", "worker_lost")
    assert relay_rings(database, Bell()) == 2  # for the submission, and at once for the loss
    with pytest.raises(FencedOutError), database.write() as connection:
        runs.succeed(connection, zombie, Ending())


def test_a_run_within_its_lease_is_left_alone(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """A live run is not taken away."""
    job = submit()
    claim(60)

    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "running"


def test_a_run_lost_once_too_often_fails(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """Edge g, by the lease: a job that kills its workers ends."""
    job = submit(max_attempts=1)
    claim(LOST)

    reconcile(database, migrated_settings)

    with database.read() as connection:
        ended = find_job(connection, OWNER, job.id)
    assert (ended.state, ended.error["type"]) == ("failed", "attempts_exhausted")


def test_a_cancel_whose_supervisor_is_gone_ends(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """Edge k, by the lease."""
    job = submit()
    claim(LOST)
    cancel(database, job.id)

    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "cancelled"


def test_a_cancel_that_takes_too_long_ends(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """Edge k, by the deadline, though the supervisor still beats; it is fenced out by then."""
    job = submit()
    run = claim(60)
    assert run is not None
    with database.write() as connection:
        jobs.request_cancel(connection, OWNER, job.id, grace_seconds=-1)

    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "cancelled"
    with pytest.raises(FencedOutError), database.write() as connection:
        runs.beat(connection, run, lease_seconds=60)


def test_a_pipeline_left_unsettled_is_settled(
    database: Database, migrated_settings: Settings, claim: Claim
) -> None:
    """A backstop: children that have all ended end their pipeline."""
    with database.write() as connection:
        job = jobs.insert_composite(
            connection, OWNER, NewJob(kind="pipeline", params={}), [new_job(role="a")]
        )
        # As if the end of the child had not been seen: written past the engine, for this test.
        child = update(jobs.jobs).where(jobs.jobs.c.parent_id == job.id)
        connection.execute(child.values(state="running", lease_until_at=db_now(60)))
        connection.execute(child.values(state="succeeded", ended_at=db_now()))

    reconcile(database, migrated_settings)

    assert state_of(database, job.id) == "succeeded"


def test_three_reconcilers_do_what_one_does(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """Passes are idempotent: a lost run is requeued once, with one closed attempt."""
    ids = [submit().id for _ in range(5)]
    for _ in ids:
        claim(LOST)

    threads = [
        threading.Thread(target=reconcile, args=(database, migrated_settings)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reconcile(database, migrated_settings)

    with database.read() as connection:
        for job_id in ids:
            assert find_job(connection, OWNER, job_id).state == "queued"
            outcomes = [attempt.outcome for attempt in attempts_of(connection, OWNER, job_id)]
            assert outcomes == ["lost"]


def test_the_relay_rings_for_each_order_and_forgets_it(database: Database, submit: Submit) -> None:
    """The outbox is empty once the bell has been rung."""
    submit()
    submit(queue="intake")
    bell = Bell()

    assert relay_rings(database, bell) == 2

    assert sorted(bell.rung) == ["gpu", "intake"]
    assert relay_rings(database, bell) == 0


def test_a_broken_bell_loses_no_ring(database: Database, submit: Submit) -> None:
    """What could not be rung stays in the outbox."""
    submit()
    with pytest.raises(OSError, match="no broker"):
        relay_rings(database, Bell(is_broken=True))

    bell = Bell()
    relay_rings(database, bell)

    assert bell.rung == ["gpu"]


def test_a_job_that_nobody_takes_is_rung_for_again_but_not_always(
    database: Database, migrated_settings: Settings, submit: Submit
) -> None:
    """A ring lost with the broker is made up for; the queue is not flooded."""
    hasty = migrated_settings.model_copy(update={"ring_again_seconds": 0.0001})
    for _ in range(3):
        submit()
    relay_rings(database, Bell())

    reconcile(database, migrated_settings)
    assert relay_rings(database, Bell()) == 0
    reconcile(database, hasty)
    assert relay_rings(database, Bell()) == 1
    reconcile(database, migrated_settings)
    assert relay_rings(database, Bell()) == 0


def test_of_very_many_jobs_some_are_rung_for_in_each_look(
    database: Database,
    migrated_settings: Settings,
    submit: Submit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look is short however long the queue is, and rings once a queue."""
    monkeypatch.setattr(reconciler, "MAX_RUNG_FOR", 2)
    hasty = migrated_settings.model_copy(update={"ring_again_seconds": 0.0001})
    for _ in range(5):
        submit()
    submit(queue="intake")
    relay_rings(database, Bell())

    for n_left in (4, 2, 0):
        bell = Bell()
        reconcile(database, hasty if n_left == 4 else migrated_settings)
        with database.write() as connection:  # those not rung for have been due for long
            waiting = update(jobs.jobs).where(jobs.jobs.c.rung_at.is_(None))
            n_waiting = connection.execute(waiting.values(queued_at=db_now(-60))).rowcount
        assert n_waiting == n_left
        relay_rings(database, bell)
        assert bell.rung
        assert len(bell.rung) == len(set(bell.rung))


def test_a_job_behind_a_busy_worker_is_rung_for_ever_more_rarely(
    database: Database, migrated_settings: Settings, submit: Submit
) -> None:
    """The pause after a ring is as long as the wait before it: no heap of messages builds up."""
    job = submit()
    relay_rings(database, Bell())

    def rings_after(queued_seconds_ago: float, rung_seconds_ago: float) -> int:
        with database.write() as connection:
            connection.execute(
                update(jobs.jobs)
                .where(jobs.jobs.c.id == job.id)
                .values(queued_at=db_now(-queued_seconds_ago), rung_at=db_now(-rung_seconds_ago))
            )
        reconcile(database, migrated_settings)
        return relay_rings(database, Bell())

    assert rings_after(100, 30) == 0
    assert rings_after(100, 60) == 1
    assert rings_after(90_000, 500) == 0
    assert rings_after(90_000, 700) == 1
    assert rings_after(-3600, -3600) == 1  # the clock has been put back by an hour
    assert rings_after(-3600, 1) == 0


def test_a_retry_is_rung_for_when_its_time_has_come(
    database: Database, migrated_settings: Settings, submit: Submit, claim: Claim
) -> None:
    """A job put back with a wait is rung for at its end, not after the long pause."""
    submit()
    relay_rings(database, Bell())
    run = claim()
    assert run is not None
    with database.write() as connection:
        runs.fail(connection, run, {"type": "x", "message": ""}, Ending(), retry_seconds=0)
    threading.Event().wait(0.01)

    reconcile(database, migrated_settings)

    assert relay_rings(database, Bell()) == 1


def test_the_background_rings_right_after_a_commit(
    database: Database, migrated_settings: Settings, submit: Submit
) -> None:
    """The relay does not wait for its next look when this process has committed."""
    slow = migrated_settings.model_copy(update={"reconcile_seconds": 3600.0})
    bell = Bell()
    background = start_background(database, slow, bell)
    try:
        submit()
        assert bell.heard.wait(60)
    finally:
        background.stop()

    assert not any(thread.is_alive() for thread in background.threads)


@pytest.mark.long
def test_the_background_outlives_a_broken_bell(
    database: Database, migrated_settings: Settings, submit: Submit
) -> None:
    """A broker that is away only delays."""
    bell = Bell(is_broken=True)
    background = start_background(database, migrated_settings, bell)
    try:
        submit()
        threading.Event().wait(0.3)
        bell.is_broken = False
        assert bell.heard.wait(60)
    finally:
        background.stop()


def test_a_round_goes_on_after_a_step_that_fails_and_is_not_hurried(
    database: Database, migrated_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever housekeeping meets, the scrub comes; and the next round when it is time."""
    n_rounds: list[int] = []
    scrubbed = threading.Event()

    def fail(*_: object, **__: object) -> None:
        n_rounds.append(1)
        raise RuntimeError("a disk")

    monkeypatch.setattr(reconciler, "keep_house", fail)
    monkeypatch.setattr(reconciler, "missing_files", fail)
    monkeypatch.setattr(reconciler.Scrubber, "scrub", lambda *_, **__: scrubbed.set())
    waits: list[float] = []
    wait = threading.Event.wait

    def watched(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread().name == "tidy":
            waits.append(timeout or 0)
        return wait(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", watched)
    background = start_background(database, migrated_settings, Bell())
    try:
        until(lambda: scrubbed.is_set() and waits != [])
    finally:
        background.stop()
    assert len(n_rounds) == 2
    assert waits == [migrated_settings.housekeeping_seconds]


def test_a_job_that_cannot_be_changed_stops_no_other(
    database: Database,
    migrated_settings: Settings,
    submit: Submit,
    claim: Claim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is passed over in every pass, and told of in the log."""
    poison, other = submit(), submit()
    assert claim(LOST) is not None
    assert claim(LOST) is not None

    def refuse(connection: Connection, job_id: str) -> Job | None:
        if job_id == poison.id:
            raise ValueError("a damaged row")
        return runs.recover_lost(connection, job_id)

    monkeypatch.setattr(reconciler, "recover_lost", refuse)
    reconcile(database, migrated_settings)
    assert (state_of(database, poison.id), state_of(database, other.id)) == ("running", "queued")


def test_eight_claimers_share_the_jobs_without_overlap(database: Database, submit: Submit) -> None:
    """Each job is claimed exactly once whatever the interleaving."""
    ids = {submit().id for _ in range(40)}
    claimed: list[str] = []

    def work() -> None:
        while True:
            with database.write() as connection:
                run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
            if run is None:
                return
            claimed.append(run.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(ids)
    assert set(claimed) == ids


def test_children_that_end_together_settle_their_pipeline(database: Database) -> None:
    """Two ends at once do not both miss that they were the last."""
    for _ in range(5):
        children = [new_job(role=str(number)) for number in range(4)]
        with database.write() as connection:
            job = jobs.insert_composite(
                connection, OWNER, NewJob(kind="pipeline", params={}), children
            )
            claimed = [
                runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=60)
                for _ in children
            ]

        def succeed(run: Job) -> None:
            with database.write() as connection:
                runs.succeed(connection, run, Ending())

        threads = [threading.Thread(target=succeed, args=(run,)) for run in claimed if run]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert state_of(database, job.id) == "succeeded"


def test_outbox_is_owned(database: Database, submit: Submit) -> None:
    """Even a ring says whose job it is for."""
    submit()
    with database.read() as connection:
        assert connection.execute(select(outbox.c.owner_id)).scalars().all() == [OWNER]
