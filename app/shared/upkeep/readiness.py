"""Can this process do its work? One question after the other, each with its answer in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.exc import DBAPIError

from app.shared.errors import UnavailableError
from app.shared.settings import Settings
from app.shared.store.database import Database, is_at_head
from app.shared.store.disk import free_bytes, has_room

ANSWER_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """The answer to one question.

    Attributes:
        name: database, disk or broker.
        code: ok, or a word for what is wrong.
        detail: in words.
        is_needed: does the service fail its users without it?
    """

    name: str
    code: str = "ok"
    detail: str = ""
    is_needed: bool = True

    @property
    def is_ok(self) -> bool:
        """Is nothing wrong?"""
        return self.code == "ok"


def checks(database: Database, settings: Settings) -> Mapping[str, Callable[[], Check]]:
    """The questions by name; each may take long where something hangs."""
    return {
        "database": lambda: _check_database(database),
        "disk": lambda: _check_disk(settings),
        "broker": lambda: _check_broker(settings),
    }


def unanswered(name: str) -> Check:
    """For a question that took too long."""
    detail = f"wanted an answer within {ANSWER_SECONDS:g} s, got none"
    return Check(name=name, code=f"{name}_slow", detail=detail, is_needed=name != "broker")


def _check_database(database: Database) -> Check:
    try:
        is_migrated = is_at_head(database)
    except (UnavailableError, DBAPIError):
        detail = "the database does not answer"
        return Check(name="database", code="database_unavailable", detail=detail)
    if not is_migrated:
        detail = "the database lacks migrations: run `ddcal migrate`"
        return Check(name="database", code="not_migrated", detail=detail)
    return Check(name="database", detail="it answers and has every migration")


def _check_disk(settings: Settings) -> Check:
    free = f"{free_bytes(settings.folder):,} bytes free, {settings.min_free_bytes:,} to stay free"
    if has_room(settings):
        return Check(name="disk", detail=free)
    return Check(name="disk", code="disk_full", detail=f"no job is begun: {free}")


def _check_broker(settings: Settings) -> Check:
    """Jobs are taken in without it, and begin later."""
    try:
        with _broker(settings.redis_url) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        detail = f"jobs begin late, the broker does not answer: {type(error).__name__}"
        return Check(name="broker", code="broker_unavailable", detail=detail, is_needed=False)
    return Check(name="broker", detail="it answers", is_needed=False)


def _broker(url: str) -> redis.Redis:
    # kombu's scheme for a socket, and redis-py's
    url = url.replace("redis+socket://", "unix://", 1)
    return redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
