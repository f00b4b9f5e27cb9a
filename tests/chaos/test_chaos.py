"""Nothing is lost or ends twice, whatever is killed; without a safeguard the same proof fails."""

import contextlib
import random

import pytest
from sqlalchemy import text

from tests.chaos.clients import Memory
from tests.chaos.driver import Driver, Outcome, await_quiet, await_ready, conclude, run
from tests.chaos.safeguards import FENCE, LEASES
from tests.chaos.silencer import Silencer
from tests.chaos.topology import running_topology
from tests.chaos.zombie import NO_CHECKPOINT, bring_back_a_zombie, submit
from tests.waiting import until

SECONDS = 30


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_invariants_hold(tmp_path, database):
    """Half a minute of faults; longer runs by `python -m tests.chaos`."""
    outcome = run(tmp_path, database, seed=1, seconds=SECONDS)
    assert outcome.violations == {}
    # How many there were is the machine's speed; a run that did nothing shows nothing.
    assert outcome.jobs["succeeded"] > 0
    assert sum(outcome.faults.values()) > 1


@contextlib.contextmanager
def service(folder, database, **topology_options):
    """A service without an API, and its driver and outcome to be."""
    with running_topology(folder, database, has_api=False, **topology_options) as topology:
        await_ready(topology)
        yield topology, Driver(topology, random.Random(1)), Outcome()


def freeze_until_there_is_a_successor(folder, without, await_end):
    """A zombie and its successor, until the end of what they do to each other."""
    options = {"n_workers": 2, "without": without, **NO_CHECKPOINT}
    with service(folder, "postgresql", **options) as (topology, driver, outcome):
        bring_back_a_zombie(topology, driver.look)
        await_end(topology, driver)
        conclude(topology, Memory(), outcome)
    return outcome


def await_harm(topology, driver):
    """Until the zombie has ended the job, or sent it round again beside its successor.

    Not until all is quiet: from here on each of them ends the other's run, for minutes.
    """

    def is_done():
        driver.look()
        with topology.database.read() as connection:
            state, fence = connection.execute(text("SELECT state, fence FROM jobs")).one()
        return state in ("succeeded", "failed") or fence > 2

    until(is_done, seconds=300)


@pytest.mark.postgresql
def test_a_zombie_is_refused(tmp_path):
    """With the fence its results are dropped, and the successor's stand."""
    outcome = freeze_until_there_is_a_successor(tmp_path, None, await_quiet)
    assert outcome.violations == {}
    assert outcome.attempts["lost"] >= outcome.attempts["succeeded"] == 1


@pytest.mark.postgresql
def test_without_the_fence_the_invariants_catch_the_zombie(tmp_path):
    """The control: the very same run fails when nobody compares the fence."""
    outcome = freeze_until_there_is_a_successor(tmp_path, FENCE, await_harm)
    assert "one attempt has ended before the next begins" in outcome.violations


def test_without_leases_the_invariants_catch_the_reconciler(tmp_path):
    """The control: runs that are alive are taken for lost."""
    options = {"n_workers": 1, "max_attempts": 8, "without": LEASES}
    with service(tmp_path, "sqlite", **options) as (topology, driver, outcome):
        submit(topology, n_steps=100)
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
        service(tmp_path, "sqlite", **options) as (topology, driver, outcome),
    ):
        submit(topology, n_steps=1)
        await_quiet(topology, driver)
        assert silencer.fall_silent() > 0
        submit(topology, n_steps=1, seed=1)
        await_quiet(topology, driver)
        conclude(topology, Memory(), outcome)
    assert outcome.violations == {}
    assert outcome.jobs == {"succeeded": 2}
