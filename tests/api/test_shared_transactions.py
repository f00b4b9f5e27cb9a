import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
from sqlalchemy import insert, select

from app.api.http.shared_transactions import SharedTransactions
from app.shared.errors import NotFoundError, UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import db_now, open_database
from app.shared.store.tables import outbox


@pytest.fixture
def database(migrated_url, tmp_path):
    """A migrated database of either kind."""
    opened = open_database(Settings(data_folder=tmp_path / "data", database_url=migrated_url))
    yield opened
    opened.close()


class Gate:
    """Transactions of a database, the first held up until all have come who are to share one."""

    def __init__(self, begin) -> None:
        self._begin = begin
        self.opens = threading.Event()
        self.n_begun = 0

    @contextmanager
    def __call__(self):
        self.n_begun += 1
        assert self.opens.wait(30)
        with self._begin() as connection:
            yield connection


@asynccontextmanager
async def shared(begin, *, n_threads=1, n_together=32, **options):
    """Shared transactions as long as the block."""
    made = SharedTransactions(begin, n_threads, n_together=n_together, **options)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.stop)


async def all_asked(made, gate, works):
    """All calls, the first alone in its transaction, which waits at the gate."""
    asked = []
    for work in works:
        asked.append(asyncio.ensure_future(made.run(lambda work=work: work)))
        while gate.n_begun == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    return asked


def outcomes_of(begin, works, **options):
    """What each call gives or raises, all asked while the first transaction waits; their number."""
    gate = Gate(begin)

    async def ask():
        async with shared(gate, **options) as made:
            asked = await all_asked(made, gate, works)
            gate.opens.set()
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(asyncio.wait_for(ask(), 60)), gate.n_begun


def ring(name, error=None):
    """A call that writes a row, and may then fail."""

    def work(connection):
        connection.execute(insert(outbox).values(owner_id="o", queue=name, created_at=db_now()))
        if error is not None:
            raise error
        return name

    return work


def raising(error):
    """A call that fails."""

    def work(_):
        raise error

    return work


def rung(database):
    """What has been written, in order."""
    with database.read() as connection:
        return list(connection.execute(select(outbox.c.queue).order_by(outbox.c.id)).scalars())


def test_who_comes_while_a_transaction_lasts_shares_the_next(database):
    """The first alone, the other nine together; each has its own answer, and all are written."""
    names = [f"q{k}" for k in range(10)]
    found, n_begun = outcomes_of(database.write, [ring(name) for name in names])
    assert found == names == rung(database)
    assert n_begun == 2


def test_no_more_share_one_than_may(database):
    """The first alone, then three at a time."""
    found, n_begun = outcomes_of(database.write, [ring("q")] * 10, n_together=3)
    assert found == ["q"] * 10
    assert n_begun == 4


@pytest.mark.parametrize(
    "error", [NotFoundError("gone", "it is gone"), KeyError("a bug"), SystemExit("a worse one")]
)
def test_what_fails_takes_nothing_from_the_others(database, error):
    """Its own writes are rolled back, theirs are there once, and it alone is told of it."""
    works = [ring("a"), ring("b"), ring("wrong", error), ring("c")]
    found, n_begun = outcomes_of(database.write, works)
    wrong = found.pop(2)
    assert wrong is error or (type(wrong), "SystemExit" in str(wrong)) == (RuntimeError, True)
    assert found == ["a", "b", "c"]
    assert rung(database) == ["a", "b", "c"]
    assert n_begun == 1 + 1 + 3  # "a"; the others together, then each for itself


def test_what_is_harmless_rolls_nothing_back(database):
    """One who asks for what is not there costs the others nothing."""
    error = NotFoundError("gone", "it is gone")
    works = [ring("a"), ring("b"), raising(error), ring("c")]
    found, n_begun = outcomes_of(database.write, works, harmless=(NotFoundError,))
    assert found == ["a", "b", error, "c"]
    assert n_begun == 2


@pytest.mark.parametrize("error", [StopIteration(), SystemExit("the end")])
def test_nothing_that_is_raised_ends_the_thread(database, error):
    """Its caller is told of it in words, and later calls are answered."""

    async def ask():
        async with shared(database.read) as made:
            wrong = await asyncio.gather(made.run(lambda: raising(error)), return_exceptions=True)
            return wrong, await made.run(lambda: lambda _: "an answer")

    (wrong,), later = asyncio.run(asyncio.wait_for(ask(), 60))
    assert type(error).__name__ in str(wrong)
    assert (type(wrong), later) == (RuntimeError, "an answer")


@pytest.mark.long
def test_a_caller_does_not_wait_for_ever(database):
    """What hangs is 503 after a while; what nobody waits for any more is not begun."""
    gate = Gate(database.write)

    async def ask():
        async with shared(gate, answer_seconds=2) as made:
            calls = await all_asked(made, gate, [ring("begun"), ring("a"), ring("b")])
            given_up = await asyncio.gather(*calls, return_exceptions=True)
            gate.opens.set()
        with pytest.raises(UnavailableError):
            await made.run(lambda: ring("q"))
        return given_up

    given_up = asyncio.run(asyncio.wait_for(ask(), 60))
    assert [type(one) for one in given_up] == [UnavailableError] * 3
    assert rung(database) == ["begun"]


def test_what_cannot_be_prepared_begins_no_transaction(database):
    """A malformed request costs the others nothing."""

    async def ask():
        async with shared(database.write) as made:
            refused = made.run(partial(int, "x"))
            kept = made.run(lambda: ring("a"))
            return await asyncio.gather(refused, kept, return_exceptions=True)

    refused, kept = asyncio.run(ask())
    assert isinstance(refused, ValueError)
    assert kept == "a"
    assert rung(database) == ["a"]


def test_a_commit_whose_answer_is_lost_is_not_tried_again(database):
    """Nobody knows whether it stands: all who shared it are told so, and nothing is done twice."""

    @contextmanager
    def write():
        with database.write() as connection:
            yield connection
        raise UnavailableError("database_unavailable", "the connection broke")

    found, n_begun = outcomes_of(write, [ring("a"), ring("b"), ring("c")])
    assert [type(one) for one in found] == [UnavailableError] * 3
    assert rung(database) == ["a", "b", "c"]
    assert n_begun == 2


def test_an_answer_comes_after_the_commit(database):
    """Who has been answered finds what was written."""

    async def ask():
        async with shared(database.write) as made:
            for k in range(20):
                await made.run(lambda k=k: ring(f"q{k}"))
                assert rung(database)[-1] == f"q{k}"

    asyncio.run(ask())


def test_a_client_that_has_gone_holds_up_nobody(database):
    """Its call is carried out, and its answer is nobody's."""
    gate = Gate(database.write)

    async def ask():
        async with shared(gate) as made:
            gone, stays = (asyncio.ensure_future(made.run(lambda: ring("q"))) for _ in range(2))
            await asyncio.sleep(0.05)
            gone.cancel()
            await asyncio.sleep(0)
            gate.opens.set()
            assert await stays == "q"
            assert gone.cancelled()

    asyncio.run(asyncio.wait_for(ask(), 60))
    assert rung(database) == ["q", "q"]


def test_several_threads_have_several_transactions_at_once(database):
    """While one is held up, the other answers."""
    held = threading.Event()

    def hold(_):
        assert held.wait(30)
        return "held"

    async def ask():
        async with shared(database.read, n_threads=2, n_together=1) as made:
            first = asyncio.ensure_future(made.run(lambda: hold))
            await asyncio.sleep(0.05)
            assert await made.run(lambda: lambda _: "free") == "free"
            held.set()
            return await first

    assert asyncio.run(asyncio.wait_for(ask(), 60)) == "held"
