"""The database itself refuses every move of a job that the picture in engine/jobs.py lacks."""

import pytest
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from app.shared.store.database import Database, db_now
from app.shared.store.job_states import JOB_STATES, RESERVED_STATES, TERMINAL_STATES
from app.shared.store.tables import jobs

EVERY_STATE = (*JOB_STATES, *RESERVED_STATES)
# By the letters of the picture; a pipeline's own moves are the last line.
LEGAL = {
    *{("blocked", "queued"), ("blocked", "failed"), ("queued", "running")},  # c d e
    *{("running", "succeeded"), ("running", "failed"), ("running", "queued")},  # f g h
    *{("running", "cancelling"), ("cancelling", "cancelled")},  # i k
    *{(state, "cancelled") for state in ("blocked", "queued", "scheduled")},  # j
    *{("blocked", "scheduled"), ("scheduled", "queued")},  # l m
    *{(state, "expired") for state in ("blocked", "queued", "scheduled")},  # n
    ("running", "blocked"),  # o
    *{("blocked", "cancelling"), ("blocked", "succeeded"), ("cancelling", "failed")},
    ("blocked", "partial"),
}


def values_of(state: str) -> dict[str, object]:
    """What the CHECKs want beside a state."""
    ended_at = db_now() if state in TERMINAL_STATES else None
    return {"state": state, "ended_at": ended_at, "lease_until_at": db_now()}


def write_job(connection: Connection, state: str) -> str:
    """A row in a state; gives its id."""
    row = {"owner_id": "local", "kind": "distill", "params": {}, "queue": "gpu", "max_attempts": 1}
    job_id = f"job_{state}"
    values = {"id": job_id, **row, "created_at": db_now(), **values_of(state)}
    connection.execute(insert(jobs).values(values))
    return job_id


def can_move(connection: Connection, job_id: str, target: str) -> bool:
    """Does an UPDATE past all our code get through? It is taken back."""
    change = update(jobs).where(jobs.c.id == job_id).values(values_of(target))
    trial, told = connection.begin_nested(), ""
    try:
        assert connection.execute(change).rowcount == 1
    except DBAPIError as error:
        told = str(error.orig)
    trial.rollback()
    assert not told or "check: a job makes no such move" in told
    return not told


def test_of_all_pairs_of_states_the_database_takes_the_picture_s_alone(database: Database) -> None:
    """144 pairs: a state may stay as it is, and nothing leaves a terminal one."""
    with database.write() as connection:
        moves = {
            (source, target)
            for source in EVERY_STATE
            for job_id in [write_job(connection, source)]
            for target in EVERY_STATE
            if can_move(connection, job_id, target)
        }
    stays = {(state, state) for state in EVERY_STATE}
    assert moves == LEGAL | stays
    assert not [source for source, _ in LEGAL if source in TERMINAL_STATES]


def test_a_refused_move_leaves_the_row_as_it_was(database: Database) -> None:
    """One statement over many jobs moves none of them."""
    with database.write() as connection:
        for state in ("queued", "succeeded"):
            write_job(connection, state)
    with pytest.raises(DBAPIError, match="no such move"), database.write() as connection:
        connection.execute(update(jobs).values(values_of("running")))
    with database.read() as connection:
        states = connection.execute(select(jobs.c.state).order_by(jobs.c.id)).scalars().all()
    assert states == ["queued", "succeeded"]
