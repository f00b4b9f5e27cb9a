"""API, workers and reconciler in every order: what the engine does is what a small model says.

Each step is one transaction of one of them; hypothesis chooses which, and whose. Time passes by
writing it into the rows: no step waits.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select, text, update

from app.shared.engine import runs
from app.shared.engine.jobs import insert_composite, insert_job, request_cancel, tell_start
from app.shared.errors import ConflictError, FencedOutError
from app.shared.store import tables
from app.shared.store.database import db_now
from app.shared.store.job_records import Ending, Job, NewJob, new_id
from app.shared.upkeep.reconciler import reconcile
from app.submission.submit import retry
from tests.chaos.invariants import INVARIANTS
from tests.shared.conftest import OWNER, new_job

FUTURE_SECONDS, PAST_SECONDS = 3600.0, -3600.0
ENDED = ("succeeded", "failed", "cancelled", "expired")
WAITING = ("scheduled", "blocked", "queued")
ACTIVE = ("running", "cancelling")
WRITES = ("beat", "note", "succeed", "fail", "release", "end_cancelled")
# Those of a quiet service that hold at every moment as well.
ALWAYS = (
    "a job ends once, as its state says",
    "nothing is told after the end",
    "events are numbered 1 to n",
    "each claim is an attempt, its fence one higher",
    "attempts are counted but for released ones, and bounded",
    "no attempt is left open",
    "one attempt has ended before the next begins",
    "the last attempt alone has succeeded, and only of a job that has",
    "a job that succeeded had all it needs",
)


@dataclass
class Modelled:
    """A job as the model has it."""

    id: str
    state: str
    parent: str | None = None
    needs: tuple[str, ...] = ()
    is_pipeline: bool = False
    priority: int = 0
    max_attempts: int = 3
    fence: int = 0
    attempt: int = 0
    has_started: bool = False
    is_early: bool = False  # its start_at has yet to come
    is_overdue: bool = False  # its expires_at has come
    is_lost: bool = False  # its lease, or its time to stop, has passed


@dataclass
class Model:
    """The picture of app/shared/engine/jobs.py in a few lines, without a database."""

    jobs: dict[str, Modelled] = field(default_factory=dict)

    def enter(self, job: Modelled) -> None:
        """Edges c, l."""
        job.state = "scheduled" if job.is_early else "queued"

    def end(self, job: Modelled, state: str) -> None:
        """Into a terminal state, with all that follows for others."""
        job.state = state
        for other in [one for one in self.jobs.values() if job.id in one.needs]:
            if other.state != "blocked":
                continue
            if state != "succeeded":
                self.end(other, "cancelled" if state == "cancelled" else "failed")
            elif all(self.jobs[one].state == "succeeded" for one in other.needs):
                self.enter(other)
        if job.parent is not None:
            self.settle(self.jobs[job.parent])

    def settle(self, pipeline: Modelled) -> None:
        """A pipeline whose children have all ended."""
        states = {one.state for one in self.children(pipeline)}
        if pipeline.state in ENDED or not states <= set(ENDED):
            return
        order = ("failed", "expired", "cancelled", "succeeded")
        pipeline.state = next(state for state in order if state in states)

    def children(self, pipeline: Modelled) -> list[Modelled]:
        """The jobs of a pipeline."""
        return [one for one in self.jobs.values() if one.parent == pipeline.id]

    def cancel(self, job: Modelled) -> None:
        """Edges i and j, of a pipeline for each child."""
        if job.is_pipeline:
            job.state = "cancelling"
            for child in self.children(job):
                self.cancel(child)
            self.settle(job)
        elif job.state in WAITING:
            self.end(job, "cancelled")
        elif job.state == "running":
            job.state = "cancelling"

    def recover(self, job: Modelled) -> None:
        """Edges h, g and k of a run that is lost."""
        job.is_lost = False
        if job.state == "cancelling":
            self.end(job, "cancelled")
        elif job.attempt < job.max_attempts:
            job.state = "queued"
        else:
            self.end(job, "failed")

    def expire(self, job: Modelled) -> None:
        """Edge n."""
        children = self.children(job)
        if job.state not in WAITING or any(one.has_started for one in children):
            return
        for one in reversed(children):
            if one.state in WAITING:
                self.end(one, "expired")
        if not job.is_pipeline:
            self.end(job, "expired")


class Engine(RuleBasedStateMachine):
    """Steps of the engine beside steps of the model."""

    def __init__(self, database, service_settings) -> None:
        super().__init__()
        self.database, self.settings = database, service_settings
        with database.write() as connection:
            for table in ("outbox", "events", "attempts", "job_deps"):
                connection.execute(delete(tables.metadata.tables[table]))
            connection.execute(delete(tables.jobs).where(tables.jobs.c.parent_id.is_not(None)))
            connection.execute(delete(tables.jobs))
        self.model = Model()
        self.runs: list[Job] = []

    @rule(
        data=st.data(),
        priority=st.integers(0, 1),
        max_attempts=st.integers(1, 3),
        is_early=st.booleans(),
    )
    def submit(self, data, priority, max_attempts, is_early) -> None:
        """One job, which may wait for others or for its time."""
        singles = [one.id for one in self.model.jobs.values() if not one.is_pipeline]
        needs = (
            data.draw(st.lists(st.sampled_from(singles), max_size=2, unique=True))
            if (singles)
            else []
        )
        new = new_job(priority=priority, max_attempts=max_attempts, needs=tuple(needs))
        state = [self.model.jobs[one].state for one in needs]
        try:
            with self.database.write() as connection:
                job = insert_job(connection, OWNER, self._timed(new, is_early=is_early))
        except ConflictError:
            assert set(state) & {"failed", "cancelled", "expired"}
            return
        assert not set(state) & {"failed", "cancelled", "expired"}
        made = Modelled(
            job.id,
            "blocked",
            needs=tuple(needs),
            priority=priority,
            max_attempts=max_attempts,
            is_early=is_early,
        )
        if set(state) <= {"succeeded"}:
            self.model.enter(made)
        self.model.jobs[job.id] = made

    @rule()
    def submit_pipeline(self) -> None:
        """Three jobs: one, then two that need it, the last both others."""
        first = new_job(role="a")
        second = new_job(role="b", needs=(first.id,))
        third = new_job(role="c", needs=(first.id, second.id))
        new = self._timed(NewJob(kind="pipeline", params={}), is_early=False)
        with self.database.write() as connection:
            job = insert_composite(connection, OWNER, new, [first, second, third])
        self.model.jobs[job.id] = Modelled(job.id, "blocked", is_pipeline=True)
        for child in (first, second, third):
            state = "blocked" if child.needs else "queued"
            made = Modelled(child.id, state, parent=job.id, needs=child.needs)
            self.model.jobs[child.id] = made

    def _timed(self, new: NewJob, *, is_early: bool) -> NewJob:
        """With an expires_at, and a start_at, that lie far ahead."""
        with self.database.read() as connection:
            later = connection.execute(select(db_now(FUTURE_SECONDS))).scalar_one()
        return NewJob(**{**vars(new), "expires_at": later, "start_at": later if is_early else None})

    @rule()
    def claim(self) -> None:
        """A worker takes the queued job that is first by priority and age, or finds none."""
        queued = [one for one in self.model.jobs.values() if one.state == "queued"]
        first = min(queued, key=lambda one: (-one.priority, one.id), default=None)
        with self.database.write() as connection:
            run = runs.claim_next(connection, queue="gpu", worker="w", lease_seconds=FUTURE_SECONDS)
        assert (run and run.id) == (first and first.id)
        if first is None:
            return
        first.state, first.has_started, first.is_lost = "running", True, False
        first.fence, first.attempt = first.fence + 1, first.attempt + 1
        if first.parent is not None:
            self.model.jobs[first.parent].has_started = True
        self.runs.append(run)

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        is_retried=st.booleans(),
        how=st.sampled_from(WRITES),
    )
    def write_of_a_run(self, data, how, is_retried) -> None:
        """A supervisor writes, be it one that has lost its job long ago."""
        run = data.draw(st.sampled_from(self.runs[-6:]))
        job = self.model.jobs[run.id]
        is_refused = run.fence != job.fence or job.state not in ACTIVE
        is_refused |= how == "succeed" and job.state == "cancelling"
        is_refused |= how == "end_cancelled" and job.state == "running"
        try:
            with self.database.write() as connection:
                self._write(connection, run, how, is_retried)
        except FencedOutError:
            assert is_refused
            return
        assert not is_refused
        self._expect(job, how, is_retried)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def tell_of_the_start(self, data) -> None:
        """A supervisor tells the pipeline that its run has begun, late perhaps: nothing moves."""
        run = data.draw(st.sampled_from(self.runs[-6:]))
        with self.database.write() as connection:
            tell_start(connection, run)

    def _write(self, connection, run, how, is_retried) -> None:
        match how:
            case "beat":
                runs.beat(connection, run, lease_seconds=FUTURE_SECONDS, progress={"step": 1})
            case "note":
                runs.note(connection, run, {"code": "c", "message": "m"})
            case "succeed":
                runs.succeed(connection, run, Ending())
            case "fail":
                error = {"type": "internal", "message": "m"}
                retry_seconds = 0.0 if is_retried else None
                runs.fail(connection, run, error, Ending(), retry_seconds=retry_seconds)
            case "release":
                runs.release(connection, run, Ending())
            case "end_cancelled":
                runs.end_cancelled(connection, run, Ending())

    def _expect(self, job, how, is_retried) -> None:
        if how == "beat":
            # A beat prolongs the lease, not the time to stop.
            job.is_lost = job.is_lost and job.state == "cancelling"
        elif how == "note":
            return
        elif job.state == "cancelling":
            self.model.end(job, "cancelled")
        elif how == "succeed":
            self.model.end(job, "succeeded")
        elif how == "release":
            job.state, job.attempt = "queued", job.attempt - 1
        elif is_retried and job.attempt < job.max_attempts:
            job.state = "queued"
        else:
            self.model.end(job, "failed")

    @precondition(lambda self: any(not one.is_pipeline for one in self.model.jobs.values()))
    @rule(data=st.data())
    def retry(self, data) -> None:
        """A user submits once more what has ended badly: a job of its own, which waits for none."""
        job, job_id = self._any(data, lambda one: not one.is_pipeline), new_id("job")
        try:
            with self.database.write() as connection:
                made = retry(connection, self.settings, OWNER, job.id, job_id=job_id)
        except ConflictError:
            assert job.state not in ("failed", "cancelled", "expired")
            return
        assert job.state in ("failed", "cancelled", "expired")
        assert (made.id, made.retry_of, made.fence) == (job_id, job.id, 0)
        self.model.jobs[job_id] = Modelled(
            job_id, "queued", priority=job.priority, max_attempts=self.settings.max_attempts
        )

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        """A user cancels any job, a pipeline's child too, at any time, once more perhaps."""
        job = self._any(data, lambda _: True)
        try:
            with self.database.write() as connection:
                request_cancel(connection, OWNER, job.id, grace_seconds=FUTURE_SECONDS)
        except ConflictError:
            assert job.state in ENDED
            assert job.state != "cancelled"
            return
        assert job.state not in ENDED or job.state == "cancelled"
        if job.state not in ("cancelling", "cancelled"):
            self.model.cancel(job)

    @precondition(lambda self: any(one.state in ACTIVE for one in self.model.jobs.values()))
    @rule(data=st.data())
    def time_of_a_run_passes(self, data) -> None:
        """A worker is not heard of for a lease, or does not stop in time."""
        job = self._any(data, lambda one: one.state in ACTIVE and not one.is_pipeline)
        if job is not None:
            is_stopping = job.state == "cancelling"
            self._set(job, "stop_deadline_at" if is_stopping else "lease_until_at")
            job.is_lost = True

    @precondition(lambda self: any(one.is_early for one in self.model.jobs.values()))
    @rule(data=st.data())
    def start_at_comes(self, data) -> None:
        """A job's time has come."""
        job = self._any(data, lambda one: one.is_early)
        self._set(job, "not_before_at")
        job.is_early = False

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def expires_at_comes(self, data) -> None:
        """Too late for a job that has not started."""
        job = self._any(data, lambda one: one.parent is None)
        self._set(job, "expires_at")
        job.is_overdue = True

    @rule()
    def reconcile(self) -> None:
        """One pass: what is overdue ends, what is due is queued, what is lost ends or goes back."""
        jobs = list(self.model.jobs.values())
        lost = [one for one in jobs if one.is_lost and one.state in ACTIVE]
        overdue = [
            one for one in jobs if one.is_overdue and one.state in WAITING and not one.has_started
        ]
        reconcile(self.database, self.settings)
        for job in overdue:
            self.model.expire(job)
        for job in jobs:
            if job.state == "scheduled" and not job.is_early:
                job.state = "queued"
        for job in lost:
            self.model.recover(job)

    @precondition(lambda self: any(one.state in ACTIVE for one in self.model.jobs.values()))
    @rule(data=st.data())
    def a_run_is_lost_and_another_begins(self, data) -> None:
        """What makes zombies, in one step, so that there are many of them."""
        self.time_of_a_run_passes(data=data)
        self.reconcile()
        self.claim()

    def _any(self, data, is_meant) -> Modelled | None:
        meant = [one.id for one in self.model.jobs.values() if is_meant(one)]
        return self.model.jobs[data.draw(st.sampled_from(meant))] if meant else None

    def _set(self, job: Modelled, column: str) -> None:
        with self.database.write() as connection:
            past = {column: db_now(PAST_SECONDS)}
            connection.execute(update(tables.jobs).where(tables.jobs.c.id == job.id).values(past))

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        """State, fence, attempt and lease of every job; and what holds of rows at every moment."""
        jobs = tables.jobs.c
        columns = (jobs.id, jobs.state, jobs.fence, jobs.attempt, jobs.lease_until_at)
        with self.database.read() as connection:
            rows = connection.execute(select(*columns)).all()
            broken = {name: connection.execute(text(INVARIANTS[name])).all() for name in ALWAYS}
        seen = {row.id: (row.state, row.fence, row.attempt) for row in rows}
        expected = {one.id: (one.state, one.fence, one.attempt) for one in self.model.jobs.values()}
        assert seen == expected
        assert {row.id for row in rows if row.lease_until_at is not None} == {
            one.id
            for one in self.model.jobs.values()
            if one.state in ACTIVE and not one.is_pipeline
        }
        assert {name: rows for name, rows in broken.items() if rows} == {}


@pytest.mark.long
@pytest.mark.parametrize("n_examples", [25])
def test_every_interleaving_is_as_the_model_says(database, migrated_settings, n_examples) -> None:
    """On either database."""
    at_once = migrated_settings.model_copy(update={"retry_seconds": 0.0})
    run_state_machine_as_test(
        lambda: Engine(database, at_once),
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
