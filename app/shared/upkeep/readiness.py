"""Can this process do its work? One question after the other, each with its answer in words.

To ask one thing more, add it to QUESTIONS: /readyz, the metric and `ddcal check` follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.exc import DBAPIError

from app.shared.errors import DamagedDatabaseError, UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import NOT_MIGRATED, Database, is_at_head
from app.shared.store.disk import free_bytes, has_room
from app.shared.store.read_only import is_read_only
from app.shared.upkeep.service_counts import count_unserved

ANSWER_SECONDS = 1.0
OK = "ok"

Readiness = Literal["ready", "degraded", "unready"]


@dataclass(frozen=True)
class Finding:
    """What a question has found: ok, or a word for what is wrong; and in words."""

    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing to look at.

    Attributes:
        name: as users see it.
        is_needed: can this process take no job without it? Else jobs are taken, and begin late.
        ask: looks at it; may take long where something hangs.
    """

    name: str
    is_needed: bool
    ask: Callable[[Database, Settings], Finding]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A question with its answer.

    Attributes:
        name: of the question.
        code: ok, or a word for what is wrong.
        detail: in words.
        is_needed: can this process take no job without it?
    """

    name: str
    code: str
    detail: str
    is_needed: bool

    @property
    def is_ok(self) -> bool:
        """Is nothing wrong?"""
        return self.code == OK


def answered(question: Question, finding: Finding) -> Check:
    """A question with what was found."""
    return Check(
        name=question.name,
        code=finding.code,
        detail=finding.detail,
        is_needed=question.is_needed,
    )


def unanswered(question: Question) -> Check:
    """For a question that took too long."""
    detail = f"wanted an answer within {ANSWER_SECONDS:g} s, got none"
    return answered(question, Finding(f"{question.name}_slow", detail))


def check_all(database: Database, settings: Settings) -> list[Check]:
    """Every question with its answer, one after another."""
    return [answered(one, one.ask(database, settings)) for one in QUESTIONS]


def readiness_of(checks: Sequence[Check]) -> Readiness:
    """What the answers say of the whole."""
    wrong = [check for check in checks if not check.is_ok]
    if any(check.is_needed for check in wrong):
        return "unready"
    return "degraded" if wrong else "ready"


def _ask_database(database: Database, settings: Settings) -> Finding:  # noqa: ARG001
    try:
        is_migrated = is_at_head(database)
        takes_writes = not is_read_only(database)
    except DamagedDatabaseError as error:
        return Finding(error.code, error.detail)
    except (UnavailableError, DBAPIError):
        return Finding("database_unavailable", "the database does not answer")
    if not is_migrated:
        return Finding("not_migrated", NOT_MIGRATED)
    if not takes_writes:
        return Finding("database_read_only", "the database takes no writes: no job can be accepted")
    return Finding(OK, "it answers, takes writes and has every migration")


def _ask_disk(database: Database, settings: Settings) -> Finding:  # noqa: ARG001
    free = f"{free_bytes(settings.folder):,} bytes free, {settings.min_free_bytes:,} to stay free"
    if has_room(settings):
        return Finding(OK, free)
    return Finding("disk_full", f"no job is begun: {free}")


def _ask_broker(database: Database, settings: Settings) -> Finding:  # noqa: ARG001
    try:
        with _broker(settings.redis_url) as client:
            client.ping()
            # A write that changes nothing: one that is full, or a replica, answers pings.
            client.lpushx("ddcal:no-such-list", "")
    except redis.exceptions.OutOfMemoryError:
        return Finding("broker_full", "jobs begin late, the broker's memory is full")
    except redis.exceptions.ResponseError as error:
        return Finding("broker_refuses", f"jobs begin late, the broker takes no messages: {error}")
    except (redis.RedisError, OSError) as error:
        detail = f"jobs begin late, the broker does not answer: {type(error).__name__}"
        return Finding("broker_unavailable", detail)
    return Finding(OK, "it answers and takes messages")


def _ask_workers(database: Database, settings: Settings) -> Finding:
    """Told of the work itself: a worker that lives and takes no job is of no use."""
    patience = settings.lease_seconds + settings.ring_again_seconds
    try:
        with database.read() as connection:
            unserved = count_unserved(connection, patience_seconds=patience)
    except (UnavailableError, DBAPIError):
        return Finding("workers_unknown", "the database does not say who works")
    if not unserved:
        return Finding(OK, "no queue with work is without a worker")
    queues = ", ".join(
        f"{name} ({queue.depth} waiting, the oldest for {queue.oldest_due_seconds:.0f} s)"
        for name, queue in unserved.items()
    )
    return Finding("no_worker", f"no worker takes the jobs of queue {queues}")


QUESTIONS = (
    Question(name="database", is_needed=True, ask=_ask_database),
    Question(name="disk", is_needed=True, ask=_ask_disk),
    Question(name="broker", is_needed=False, ask=_ask_broker),
    Question(name="workers", is_needed=False, ask=_ask_workers),
)


def _broker(url: str) -> redis.Redis:
    # kombu's scheme for a socket, and redis-py's
    url = url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
