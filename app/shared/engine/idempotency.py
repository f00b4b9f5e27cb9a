"""Requests that create, sent again: under the same key the second finds what the first has made.

A key is written in the transaction that writes what it made, so both are there or neither. What is
refused leaves no key. A key outlives what it made: once that has been deleted, its request is
neither carried out again nor answered.
"""

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from app.shared.errors import InvalidRequestError
from app.shared.store.database import db_now
from app.shared.store.tables import idempotency_keys as keys

# Built once, as they stand in the way of every submission.
_TAKING = {
    name: dialect.insert(keys)
    .values(created_at=db_now())
    .on_conflict_do_nothing()
    .returning(keys.c.key)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}
_IS_MEANT = and_(
    keys.c.owner_id == bindparam("of"),
    keys.c.path == bindparam("at"),
    keys.c.key == bindparam("under"),
)
_FINDING = select(keys.c.fingerprint, keys.c.resource_id).where(_IS_MEANT)


@dataclass(frozen=True, kw_only=True)
class KeyedRequest:
    """A creating request that came with a key.

    Attributes:
        path: where it was sent.
        key: as its client chose it.
        fingerprint: of all that it asks for.
    """

    path: str
    key: str
    fingerprint: str


def fingerprint(document: object) -> str:
    """The sha256 of a JSON document, the same for any order of names and any spacing."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def take_key(
    connection: Connection, owner_id: str, request: KeyedRequest, resource_id: str
) -> str | None:
    """The id of what a request under this key has made; None for the first, whose key it now is.

    Who comes while the first is still being carried out waits for its end.

    Args:
        connection: a write transaction, in which the first is carried out.
        owner_id: whose key it is.
        request: that came.
        resource_id: of what the first is about to make.

    Raises:
        InvalidRequestError: the first asked for something else.
    """
    taking = _TAKING[connection.dialect.name]
    values = {"owner_id": owner_id, "resource_id": resource_id, **vars(request)}
    taken = connection.execute(taking, values)
    if taken.one_or_none() is not None:
        return None
    # The insert has waited until the first has committed, so that its row can be seen here.
    first = connection.execute(_FINDING, _which(owner_id, request.path, request.key)).one()
    if first.fingerprint != request.fingerprint:
        detail = "wanted the request that this Idempotency-Key was first sent with, got another"
        raise InvalidRequestError("idempotency_key_reused", detail)
    made: str = first.resource_id
    return made


def is_key_taken(connection: Connection, owner_id: str, *, path: str, key: str) -> bool:
    """Has a request under this key been carried out?"""
    return connection.execute(_FINDING, _which(owner_id, path, key)).one_or_none() is not None


def forget_keys(connection: Connection, older_than: float) -> int:
    """Forget the keys of requests that came more than so many seconds ago; tells how many."""
    old = keys.c.created_at < db_now(-older_than)
    return connection.execute(delete(keys).where(old)).rowcount


def _which(owner_id: str, path: str, key: str) -> dict[str, str]:
    return {"of": owner_id, "at": path, "under": key}
