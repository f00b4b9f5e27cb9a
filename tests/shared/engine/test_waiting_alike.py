"""A job whose results another one is computing waits for it, instead of computing them, too."""

from collections.abc import Callable

import pytest

from app.shared.engine import deletion, jobs, recipes, runs
from app.shared.engine.recipes import Recipe
from app.shared.errors import ConflictError
from app.shared.store.database import Database
from app.shared.store.job_queries import attempts_of, find_job
from app.shared.store.job_records import Ending, Job
from tests.shared.conftest import OWNER

RECIPE = Recipe(digest="ab" * 32, ids=())
Claim = Callable[..., Job | None]
Submit = Callable[..., Job]


@pytest.fixture
def pair(database: Database, submit: Submit, claim: Claim) -> tuple[Job, Job]:
    """An older run that computes the recipe, and a younger one that has not begun."""
    submit()
    submit()
    older, younger = claim(), claim()
    assert older is not None
    assert younger is not None
    with database.write() as connection:
        runs.note_recipe(connection, older, RECIPE.digest, ())
    return older, younger


def wait(database: Database, run: Job) -> Job | None:
    """Ask who computes the same, and wait for it if somebody does."""
    with database.write() as connection:
        recipes.hold(connection, RECIPE)
        other = recipes.running_alike(connection, run, RECIPE)
        return None if other is None else runs.wait_for_another(connection, run, other)


def state(database: Database, job: Job) -> str:
    """A job's state as stored."""
    with database.read() as connection:
        return find_job(connection, OWNER, job.id).state


def test_the_younger_waits_and_its_attempt_does_not_count(
    database: Database, pair: tuple[Job, Job]
) -> None:
    """It is told whom it waits for."""
    older, younger = pair
    waiting = wait(database, younger)
    assert waiting is not None
    assert (waiting.state, waiting.attempt) == ("blocked", 0)
    assert waiting.error is not None
    assert older.id in waiting.error["message"]
    with database.read() as connection:
        (attempt,) = attempts_of(connection, OWNER, younger.id)
    assert attempt.outcome == "released"


def test_the_older_never_waits(database: Database, pair: tuple[Job, Job]) -> None:
    """So that no two wait for each other."""
    older, younger = pair
    with database.write() as connection:
        runs.note_recipe(connection, younger, RECIPE.digest, ())
    assert wait(database, older) is None
    assert state(database, older) == "running"


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel"])
def test_it_goes_on_however_the_other_ends(
    database: Database, pair: tuple[Job, Job], claim: Claim, how: str
) -> None:
    """It takes the results over, or computes them itself."""
    older, younger = pair
    wait(database, younger)
    with database.write() as connection:
        if how == "succeed":
            runs.succeed(connection, older, Ending())
        elif how == "fail":
            runs.fail(connection, older, {"type": "nan_loss", "message": "loss"}, Ending())
        else:
            jobs.request_cancel(connection, OWNER, older.id, grace_seconds=60)
            runs.end_cancelled(connection, older, Ending())
    run = claim()
    assert run is not None
    assert (run.id, run.attempt) == (younger.id, 1)


def test_it_goes_on_waiting_while_the_other_is_tried_again(
    database: Database, pair: tuple[Job, Job], claim: Claim
) -> None:
    """A lost or drained run is no end."""
    older, younger = pair
    wait(database, younger)
    with database.write() as connection:
        runs.release(connection, older, Ending())
    assert state(database, younger) == "blocked"
    again = claim()
    assert again is not None
    assert again.id == older.id
    assert claim() is None


def test_who_has_been_cancelled_does_not_wait(database: Database, pair: tuple[Job, Job]) -> None:
    """Its supervisor learns of it and stops it."""
    _, younger = pair
    with database.write() as connection:
        jobs.request_cancel(connection, OWNER, younger.id, grace_seconds=60)
    assert wait(database, younger) is None
    assert state(database, younger) == "cancelling"


def test_who_waits_can_be_cancelled(database: Database, pair: tuple[Job, Job]) -> None:
    """At once, as any job that waits; the other goes on."""
    older, younger = pair
    wait(database, younger)
    with database.write() as connection:
        jobs.request_cancel(connection, OWNER, younger.id, grace_seconds=60)
    assert state(database, younger) == "cancelled"
    assert state(database, older) == "running"


def test_what_is_waited_for_is_not_deleted_before_it_is_read(
    database: Database, pair: tuple[Job, Job], claim: Claim
) -> None:
    """Its results are about to be taken over."""
    older, younger = pair
    wait(database, younger)
    with database.write() as connection:
        runs.succeed(connection, older, Ending())
    with pytest.raises(ConflictError, match="needs"), database.write() as connection:
        deletion.delete_job(connection, OWNER, older.id)
    run = claim()
    assert run is not None
    with database.write() as connection:
        runs.succeed(connection, run, Ending())
    with database.write() as connection:
        deletion.delete_job(connection, OWNER, older.id)
    assert state(database, younger) == "succeeded"


def test_waiting_twice_for_the_same_job_is_no_error(
    database: Database, pair: tuple[Job, Job], claim: Claim
) -> None:
    """The other may be lost, and taken up again before this one is."""
    older, younger = pair
    wait(database, younger)
    with database.write() as connection:
        runs.fail(connection, older, {"type": "x", "message": "x"}, Ending(), retry_seconds=0)
    with database.write() as connection:
        jobs.move(connection, younger.id, ("blocked",), "queued")
    again, second = claim(), claim()
    assert again is not None
    assert second is not None
    assert wait(database, second) is not None
