"""Nothing is lost or ends twice, whatever is killed; without a safeguard the same proof fails."""

import contextlib
import random
import signal

import pytest
from sqlalchemy import text

from app.shared.engine.jobs import insert_job
from app.shared.store.job_records import NewJob
from tests.chaos.clients import FIRST_NUMBER, TINY, Memory
from tests.chaos.driver import Driver, Outcome, await_quiet, await_ready, conclude, run
from tests.chaos.faults import name_of
from tests.chaos.safeguards import FENCE, LEASES
from tests.chaos.silencer import Silencer
from tests.chaos.topology import running_topology
from tests.waiting import until

SECONDS = 30


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_invariants_hold(tmp_path, database):
    """Half a minute of faults; longer runs by `python -m tests.chaos`."""
    outcome = run(tmp_path, database, seed=1, seconds=SECONDS)
    assert outcome.violations == {}
    assert outcome.jobs["succeeded"] > 5
    assert sum(outcome.faults.values()) > 5


@contextlib.contextmanager
def one_job(folder, database, *, n_steps, **topology_options):
    """A service without an API, with one job just submitted, and its driver and outcome to be."""
    with running_topology(folder, database, has_api=False, **topology_options) as topology:
        await_ready(topology)
        submit(topology, n_steps=n_steps)
        yield topology, Driver(topology, random.Random(1)), Outcome()


def submit(topology, *, n_steps, seed=0):
    """Write a distillation that takes so many tenths of a second."""
    distill = {**TINY, "iterations": n_steps, "method": "dm"}
    new = NewJob(
        kind="distill",
        params={"dataset": "digits", "seed": seed, "distill": distill},
        queue="gpu",
        timeout_seconds=FIRST_NUMBER + seed,
        max_attempts=topology.settings.max_attempts,
    )
    with topology.database.write() as connection:
        insert_job(connection, "local", new)


def freeze_until_there_is_a_successor(folder, without):
    """Freeze a supervisor at work; set it going again when its successor is at work too."""
    # No checkpoint: the successor is to begin anew, and be at work when the zombie comes back.
    options = {"n_workers": 2, "checkpoint_seconds": 1000.0, "without": without}
    with one_job(folder, "postgresql", n_steps=60, **options) as (topology, driver, outcome):

        def run_after(fence):
            """The run at work, if it is a later one."""
            query = "SELECT fence, lease_owner FROM jobs WHERE state = 'running' AND fence > :fence"
            driver.look()
            with topology.database.read() as connection:
                return connection.execute(
                    text(f"{query} AND progress IS NOT NULL"), {"fence": fence}
                ).one_or_none()

        def await_run_after(fence):
            found = []
            until(lambda: found.append(run_after(fence)) or found[-1], seconds=120)
            return found[-1]

        first = await_run_after(0)
        (zombie,) = [
            topology.supervisor_of(worker)
            for worker in topology.workers()
            if name_of(worker, topology) == first.lease_owner
        ]
        zombie.send_signal(signal.SIGSTOP)
        await_run_after(first.fence)
        zombie.send_signal(signal.SIGCONT)
        await_quiet(topology, driver)
        conclude(topology, Memory(), outcome)
    return outcome


@pytest.mark.postgresql
def test_a_zombie_is_refused(tmp_path):
    """With the fence its results are dropped, and the successor's stand."""
    outcome = freeze_until_there_is_a_successor(tmp_path, None)
    assert outcome.violations == {}
    assert outcome.attempts["lost"] >= outcome.attempts["succeeded"] == 1


@pytest.mark.postgresql
def test_without_the_fence_the_invariants_catch_the_zombie(tmp_path):
    """The control: the very same run fails when nobody compares the fence."""
    outcome = freeze_until_there_is_a_successor(tmp_path, FENCE)
    assert "no attempt is left open" in outcome.violations
    assert "one attempt has ended before the next begins" in outcome.violations


def test_without_leases_the_invariants_catch_the_reconciler(tmp_path):
    """The control: runs that are alive are taken for lost."""
    options = {"n_workers": 1, "max_attempts": 8, "without": LEASES}
    with one_job(tmp_path, "sqlite", n_steps=100, **options) as (topology, driver, outcome):
        await_quiet(topology, driver)
        conclude(topology, Memory(), outcome)
    assert "no run is taken for lost within its lease" in outcome.violations
    assert "no job fails" in outcome.violations


def test_a_deaf_worker_hears_again(tmp_path):
    """Its connections to the broker fall silent without an end, as behind a dead router."""
    silencer = Silencer(tmp_path / "front.sock")
    options = {"n_workers": 1, "front": silencer.stand_before}
    with (
        contextlib.closing(silencer),
        one_job(tmp_path, "sqlite", n_steps=1, **options) as (topology, driver, outcome),
    ):
        await_quiet(topology, driver)
        assert silencer.fall_silent() > 0
        submit(topology, n_steps=1, seed=1)
        await_quiet(topology, driver)
        conclude(topology, Memory(), outcome)
    assert outcome.violations == {}
    assert outcome.jobs == {"succeeded": 2}
