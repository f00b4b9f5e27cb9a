"""The life of a job: every edge of the picture in jobs.py, and the moves it forbids."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from app.shared.engine import deletion, jobs, runs
from app.shared.engine.events import events_after, list_events
from app.shared.errors import ConflictError, FencedOutError, NotFoundError
from app.shared.store.database import Database
from app.shared.store.job_queries import children_of, find_job, list_jobs
from app.shared.store.job_records import Ending, Job, NewJob
from app.shared.store.tables import attempts, outbox
from tests.shared.conftest import OWNER, cancel, new_job, state_of

Submit = Callable[..., Job]
Claim = Callable[..., Job | None]
InState = Callable[[str], Job]
ERROR = {"type": "internal", "message": "it broke"}


def rings(database: Database) -> int:
    """How many rings are ordered."""
    with database.read() as connection:
        return len(connection.execute(select(outbox)).all())


def end(database: Database, run: Job, how: str) -> Job:
    """End a run one way or another."""
    ways = {
        "succeed": lambda connection: runs.succeed(connection, run, Ending()),
        "fail": lambda connection: runs.fail(connection, run, ERROR, Ending()),
        "retry": lambda connection: runs.fail(connection, run, ERROR, Ending(), retry_seconds=0),
        "release": lambda connection: runs.release(connection, run, Ending()),
        "end_cancelled": lambda connection: runs.end_cancelled(connection, run, Ending()),
    }
    with database.write() as connection:
        return ways[how](connection)


def test_a_job_with_nothing_to_wait_for_is_queued_and_rung_for(
    database: Database, submit: Submit
) -> None:
    """Edge a: the job, its first event and its ring are there together."""
    job = submit()

    assert job.state == "queued"
    assert rings(database) == 1
    with database.read() as connection:
        events = list_events(connection, OWNER, job.id)
    assert [(event.seq, event.data["state"]) for event in events] == [(1, "queued")]


def test_a_rolled_back_submission_leaves_nothing(database: Database) -> None:
    """A job and its ring are written together or not at all."""

    def submit_and_fail() -> None:
        with database.write() as connection:
            jobs.insert_job(connection, OWNER, new_job())
            raise RuntimeError("before the commit")

    with pytest.raises(RuntimeError):
        submit_and_fail()

    assert rings(database) == 0
    with database.read() as connection:
        assert list_jobs(connection, OWNER, filters={}) == []


def test_a_job_waits_blocked_until_all_it_needs_have_succeeded(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """Edges b and c."""
    first, second = submit(), submit()
    waiting = submit(needs=(first.id, second.id))
    assert waiting.state == "blocked"

    for expected in ("blocked", "queued"):
        run = claim()
        assert run is not None
        end(database, run, "succeed")
        assert state_of(database, waiting.id) == expected


def test_what_waits_for_a_failed_job_fails_with_it(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """Edge d, through a chain of two."""
    first = submit()
    second = submit(needs=(first.id,))
    third = submit(needs=(second.id,))
    run = claim()
    assert run is not None

    end(database, run, "fail")

    with database.read() as connection:
        for job_id in (second.id, third.id):
            job = find_job(connection, OWNER, job_id)
            assert (job.state, job.error["type"]) == ("failed", "dependency_failed")


def test_what_waits_for_a_cancelled_job_is_cancelled_with_it(
    database: Database, submit: Submit
) -> None:
    """Edge j, by a needed job."""
    first = submit()
    second = submit(needs=(first.id,))

    cancel(database, first.id)

    with database.read() as connection:
        job = find_job(connection, OWNER, second.id)
    assert (job.state, job.error["type"]) == ("cancelled", "dependency_cancelled")


def test_a_job_cannot_wait_for_one_that_has_failed(submit: Submit, in_state: InState) -> None:
    """A dependency that can never be met is refused when it is written."""
    failed = in_state("failed")

    with pytest.raises(ConflictError, match="is failed"):
        submit(needs=(failed.id,))


def test_a_job_that_needs_only_succeeded_ones_is_queued(submit: Submit, in_state: InState) -> None:
    """Edge a again: nothing is left to wait for."""
    done = in_state("succeeded")

    assert submit(needs=(done.id,)).state == "queued"


def test_claims_go_by_priority_then_age(submit: Submit, claim: Claim) -> None:
    """Edge e takes the highest priority first, the oldest among equals."""
    old, young, urgent = submit(), submit(), submit(priority=1)

    claimed = [claim(), claim(), claim(), claim()]

    assert [job and job.id for job in claimed] == [urgent.id, old.id, young.id, None]


def test_what_a_newer_version_has_submitted_is_left_to_a_newer_worker(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """Neither claimed nor failed, and in nobody's way."""
    later, known = submit(kind="of_a_later_version", priority=1), submit()

    assert claim(60).id == known.id
    assert claim(60) is None
    with database.read() as connection:
        assert find_job(connection, OWNER, later.id).state == "queued"


def test_a_claim_raises_fence_and_attempt_and_opens_an_attempt(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """Edge e."""
    submit()

    run = claim()

    assert run is not None
    assert (run.state, run.fence, run.attempt) == ("running", 1, 1)
    with database.read() as connection:
        row = connection.execute(select(attempts)).one()
    assert (row.fence, row.attempt, row.ended_at, row.worker) == (1, 1, None, "w")


@pytest.mark.parametrize(
    ("how", "state", "outcome"),
    [
        ("succeed", "succeeded", "succeeded"),
        ("fail", "failed", "failed"),
        ("retry", "queued", "failed"),
        ("release", "queued", "released"),
    ],
)
def test_a_run_ends(
    database: Database, in_state: InState, how: str, state: str, outcome: str
) -> None:
    """Edges f, g and h, and the attempt they close."""
    run = in_state("running")

    end(database, run, how)

    assert state_of(database, run.id) == state
    with database.read() as connection:
        attempt = connection.execute(select(attempts)).one()
    assert attempt.outcome == outcome
    assert attempt.ended_at is not None


def test_a_retry_is_counted_and_a_release_is_not(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """Edge h twice: an attempt lost to a drain costs nothing."""
    job = submit(max_attempts=1)
    run = claim()
    assert run is not None
    end(database, run, "release")

    with database.read() as connection:
        told = list_events(connection, OWNER, job.id)[-1].data
    assert (told["state"], told["error"]["type"]) == ("queued", "drained")

    again = claim()
    assert again is not None
    assert (again.id, again.attempt, again.fence) == (job.id, 1, 2)
    end(database, again, "retry")

    assert state_of(database, job.id) == "failed"


def test_an_error_is_shown_while_it_is_waited_after_not_while_it_is_tried_again(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """What ended an attempt stands until the next begins; a cancel does not inherit it."""
    job = submit()
    run = claim()
    assert run is not None
    assert end(database, run, "retry").error == ERROR

    again = claim()

    assert again is not None
    assert again.error is None
    end(database, again, "retry")
    assert cancel(database, job.id).error is None


def test_a_job_cannot_wait_for_one_that_is_gone(submit: Submit) -> None:
    """A dependency deleted between check and write is a conflict, not a broken row."""
    with pytest.raises(ConflictError, match="has been deleted"):
        submit(needs=("job_" + "0" * 26,))


def test_a_retried_job_is_not_claimed_before_its_time(
    database: Database, submit: Submit, claim: Claim
) -> None:
    """The wait between attempts is kept by the database's clock."""
    submit()
    run = claim()
    assert run is not None
    with database.write() as connection:
        runs.fail(connection, run, ERROR, Ending(), retry_seconds=3600)

    assert claim() is None


@pytest.mark.parametrize("state", ["queued", "blocked"])
def test_a_waiting_job_is_cancelled_at_once(
    database: Database, in_state: InState, state: str
) -> None:
    """Edge j."""
    job = in_state(state)

    assert cancel(database, job.id).state == "cancelled"


def test_a_running_job_is_cancelled_by_its_supervisor(
    database: Database, in_state: InState
) -> None:
    """Edges i and k; the beat tells the supervisor to stop."""
    run = in_state("running")
    assert cancel(database, run.id).state == "cancelling"

    with database.write() as connection:
        assert runs.beat(connection, run, lease_seconds=60) == "cancel"
    assert end(database, run, "end_cancelled").state == "cancelled"


@pytest.mark.parametrize("how", ["fail", "retry", "release"])
def test_whatever_ends_a_cancelling_run_ends_it_cancelled(
    database: Database, in_state: InState, how: str
) -> None:
    """Edge k wins over g and h."""
    run = in_state("cancelling")

    assert end(database, run, how).state == "cancelled"


def test_a_cancelling_run_cannot_succeed(database: Database, in_state: InState) -> None:
    """A cancel that was acknowledged is kept: no results after it."""
    run = in_state("cancelling")

    with pytest.raises(FencedOutError):
        end(database, run, "succeed")

    assert state_of(database, run.id) == "cancelling"


@pytest.mark.parametrize("state", ["cancelling", "cancelled"])
def test_a_second_cancel_changes_nothing(database: Database, in_state: InState, state: str) -> None:
    """Cancel is idempotent."""
    job = in_state(state)
    with database.read() as connection:
        before = find_job(connection, OWNER, job.id)

    assert cancel(database, job.id) == before


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_an_ended_job_cannot_be_cancelled(
    database: Database, in_state: InState, state: str
) -> None:
    """Nothing leaves a terminal state."""
    job = in_state(state)

    with pytest.raises(ConflictError, match=f"it is {state}"):
        cancel(database, job.id)


@pytest.mark.parametrize("how", ["succeed", "fail", "retry", "release", "end_cancelled"])
@pytest.mark.parametrize("state", ["queued", "succeeded", "failed", "cancelled", "running"])
def test_a_run_that_lost_its_job_is_refused(
    database: Database, in_state: InState, claim: Claim, state: str, how: str
) -> None:
    """Every end carries the fence: a run overtaken by another, or by the end, changes nothing."""
    zombie = in_state("running")
    if state == "running":
        end(database, zombie, "release")
        assert claim() is not None
    elif state == "queued":
        end(database, zombie, "release")
    elif state == "cancelled":
        cancel(database, zombie.id)
        end(database, zombie, "end_cancelled")
    else:
        end(database, zombie, {"succeeded": "succeed", "failed": "fail"}[state])
    with database.read() as connection:
        before = find_job(connection, OWNER, zombie.id)

    with pytest.raises(FencedOutError):
        end(database, zombie, how)

    with database.read() as connection:
        assert find_job(connection, OWNER, zombie.id) == before


def test_a_zombie_cannot_beat(database: Database, in_state: InState, claim: Claim) -> None:
    """A beat carries the fence too, and is refused while another run works."""
    zombie = in_state("running")
    end(database, zombie, "release")
    assert claim() is not None

    with pytest.raises(FencedOutError), database.write() as connection:
        runs.beat(connection, zombie, lease_seconds=60, progress={"step": 1})


def test_progress_is_kept_and_told(database: Database, in_state: InState) -> None:
    """A beat with progress changes the row's version; as an event it gets the next number."""
    run = in_state("running")

    with database.write() as connection:
        runs.beat(connection, run, lease_seconds=60, progress={"step": 1}, is_event=True)

    with database.read() as connection:
        job = find_job(connection, OWNER, run.id)
        events = list_events(connection, OWNER, run.id, after=2)
    assert job.progress == {"step": 1}
    assert job.version > run.version
    assert [(event.seq, event.type, event.data) for event in events] == [
        (3, "progress", {"step": 1})
    ]


def pipeline(database: Database) -> tuple[Job, list[NewJob]]:
    """A pipeline of three: a, then b and c that need it."""
    first = new_job(role="a")
    children = [
        first,
        new_job(role="b", needs=(first.id,)),
        new_job(role="c", needs=(first.id,)),
    ]
    with database.write() as connection:
        job = jobs.insert_composite(connection, OWNER, NewJob(kind="pipeline", params={}), children)
    return job, children


def run_next(database: Database, claim: Claim, how: str) -> None:
    """Claim a job and end it."""
    run = claim()
    assert run is not None
    end(database, run, how)


def test_a_pipeline_succeeds_with_its_last_child(database: Database, claim: Claim) -> None:
    """A composite is settled in the transaction that ends its last child."""
    job, _ = pipeline(database)

    for expected in ("blocked", "blocked", "succeeded"):
        run_next(database, claim, "succeed")
        assert state_of(database, job.id) == expected


def test_a_pipeline_fails_with_the_cause_of_the_first_failure(
    database: Database, claim: Claim
) -> None:
    """The composite's error names the child that broke, not those that waited for it."""
    job, children = pipeline(database)

    run_next(database, claim, "fail")

    with database.read() as connection:
        failed = find_job(connection, OWNER, job.id)
        states = [child.state for child in children_of(connection, OWNER, job.id)]
    assert states == ["failed", "failed", "failed"]
    assert failed.state == "failed"
    assert failed.error == {
        "type": "internal",
        "message": f"a ({children[0].id}) failed: it broke",
    }


def test_cancelling_a_pipeline_cancels_its_children(database: Database, claim: Claim) -> None:
    """Waiting children end at once, a running one by its supervisor, and then the pipeline."""
    job, _ = pipeline(database)
    run = claim()
    assert run is not None

    assert cancel(database, job.id).state == "cancelling"
    end(database, run, "end_cancelled")

    assert state_of(database, job.id) == "cancelled"
    with database.read() as connection:
        states = {child.state for child in children_of(connection, OWNER, job.id)}
    assert states == {"cancelled"}


def test_cancelling_a_pipeline_that_only_waits_ends_it(database: Database) -> None:
    """Nothing runs: nothing to wait for."""
    job, _ = pipeline(database)

    assert cancel(database, job.id).state == "cancelled"


def test_a_pipeline_tells_of_its_children(database: Database, claim: Claim) -> None:
    """A stream of the pipeline's events shows its children's ends, numbered without gaps."""
    job, _ = pipeline(database)

    for _ in range(3):
        run_next(database, claim, "succeed")

    with database.read() as connection:
        events = list_events(connection, OWNER, job.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    told = [(event.data["role"], event.data["state"]) for event in events if event.type == "child"]
    assert told[3:] == [
        ("a", "succeeded"),
        ("b", "queued"),
        ("c", "queued"),
        ("b", "succeeded"),
        ("c", "succeeded"),
    ]
    assert events[-1].data["state"] == "succeeded"


def test_a_pipeline_is_told_when_a_child_begins(database: Database, claim: Claim) -> None:
    """Its events say so, and its own start is that of its first child."""
    job, _ = pipeline(database)
    run = claim()
    assert run is not None

    with database.write() as connection:
        jobs.tell_start(connection, run)

    with database.read() as connection:
        event = list_events(connection, OWNER, job.id)[-1]
        assert find_job(connection, OWNER, job.id).started_at is not None
    assert (event.type, event.data["role"], event.data["state"]) == ("child", "a", "running")


def test_a_run_that_has_ended_tells_of_no_start(database: Database, claim: Claim) -> None:
    """Its supervisor may be late, and its pipeline may have ended: nothing follows the end."""
    with database.write() as connection:
        pipeline = jobs.insert_composite(
            connection, OWNER, NewJob(kind="pipeline", params={}), [new_job(role="a")]
        )
    run = claim()
    assert run is not None
    with database.write() as connection:
        runs.succeed(connection, run, Ending())

    with database.write() as connection:
        jobs.tell_start(connection, run)

    with database.read() as connection:
        told = list_events(connection, OWNER, pipeline.id)
    assert (told[-1].type, told[-1].data["state"]) == ("state", "succeeded")


@pytest.mark.parametrize("state", ["queued", "blocked", "running", "cancelling"])
def test_only_ended_jobs_are_deleted(database: Database, in_state: InState, state: str) -> None:
    """A job that still lives is not deleted."""
    job = in_state(state)

    with pytest.raises(ConflictError, match="cancel it first"), database.write() as connection:
        deletion.delete_job(connection, OWNER, job.id)


def test_deleting_a_pipeline_deletes_its_children(database: Database, claim: Claim) -> None:
    """The ids come back, so that the files can go; a child alone is not deleted."""
    job, children = pipeline(database)
    for _ in range(3):
        run_next(database, claim, "succeed")
    with pytest.raises(ConflictError, match="part of"), database.write() as connection:
        deletion.delete_job(connection, OWNER, children[0].id)

    with database.write() as connection:
        gone = deletion.delete_job(connection, OWNER, job.id)

    assert set(gone) == {job.id, *(child.id for child in children)}
    with database.read() as connection:
        assert list_jobs(connection, OWNER, filters={}) == []


def test_a_needed_job_is_not_deleted(database: Database, in_state: InState, submit: Submit) -> None:
    """Its results are still to be read by a job that has not ended."""
    done = in_state("succeeded")
    other = submit(priority=-9)
    with database.write() as connection:
        waiting = jobs.insert_job(connection, OWNER, new_job(needs=(other.id,)))
        connection.execute(
            jobs.job_deps.insert().values(owner_id=OWNER, job_id=waiting.id, needs_job_id=done.id)
        )

    with pytest.raises(ConflictError, match="needs"), database.write() as connection:
        deletion.delete_job(connection, OWNER, done.id)


def test_another_owners_job_does_not_exist(database: Database, in_state: InState) -> None:
    """Reading, cancelling and deleting are filtered by owner."""
    job = in_state("succeeded")

    for call in (
        lambda connection: find_job(connection, "other", job.id),
        lambda connection: jobs.request_cancel(connection, "other", job.id, grace_seconds=1),
        lambda connection: deletion.delete_job(connection, "other", job.id),
    ):
        with pytest.raises(NotFoundError), database.write() as connection:
            call(connection)
    with database.read() as connection:
        assert list_jobs(connection, "other", filters={}) == []
        assert children_of(connection, "other", job.id) == []
        assert list_events(connection, "other", job.id) == []


def test_the_events_of_thousands_of_jobs_are_read_at_once(database: Database) -> None:
    """As many streams may be open; SQLite takes no expression that is so deep."""
    with database.write() as connection:
        first, last = (jobs.insert_job(connection, OWNER, new_job()) for _ in range(2))
        others = {f"job_{number}": 0 for number in range(2_000)}
        positions = {first.id: 0, **others, last.id: 0}
        found = [event.job_id for event in events_after(connection, positions)]
        assert found == [first.id, last.id]
        assert len(events_after(connection, positions, limit=1)) == 1
