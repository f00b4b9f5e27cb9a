"""What people call jobs, uploads and results, and how they find them again by it.

Names, tags and notes stand in the rows of what they belong to. `search_terms` is an index of them,
written here alone, in the same transaction: a term for each tag (`env:prod`) and for each word of
the name and the notes, in lower case. A word has no colon, so none is taken for a tag.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from app.shared.errors import FieldProblem, InvalidRequestError
from app.shared.store.job_records import first_id
from app.shared.store.kinds import ID_PREFIXES
from app.shared.store.tables import jobs, search_terms

MAX_NAME, MAX_NOTES = 100, 2_000
MAX_TAGS, MAX_TAG_VALUE = 16, 100
TAG_KEY = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}"
MAX_WORD, MAX_WORDS = 40, 400
FEW = 5_000
"""So many rows are sorted at once; where there are more, a list meets them soon as it is walked."""

_ID = re.compile(rf"(?:{'|'.join(ID_PREFIXES)})_[0-9a-z]*")
_LAST = "\U0010ffff"  # of terms, which are compared by code point
_LAST_ID = "z" * 26  # of ids, which a server may compare as its language does
_SKEW = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What people say of a thing.

    Attributes:
        name: one line.
        tags: key -> value.
        notes: text of several lines.
    """

    name: str | None = None
    tags: Mapping[str, str] | None = None
    notes: str | None = None

    def changed(self, given: Mapping[str, Any]) -> "Description":
        """These with what a change gives (RFC 7396): null takes away, tags one by one."""
        values: dict[str, Any] = {**vars(self), **given}
        if given.get("tags") is not None:
            merged = {**(self.tags or {}), **given["tags"]}
            values["tags"] = {key: value for key, value in merged.items() if value is not None}
        return Description(**{name: value or None for name, value in values.items()})

    def terms(self) -> set[str]:
        """What they are found by."""
        words = _words(f"{self.name or ''} {self.notes or ''}")[:MAX_WORDS]
        return {*(tag_term(*tag) for tag in (self.tags or {}).items()), *words}


def description_of(row: object) -> Description:
    """The description of a row or record with its columns."""
    return Description(**{name: getattr(row, name) for name in Description.__dataclass_fields__})


def tag_term(key: str, value: str) -> str:
    """The term of a tag; with an empty value, what all terms of its key begin with."""
    return f"{key}:{value}"


def index_description(
    connection: Connection, owner_id: str, resource_id: str, job_id: str, description: Description
) -> None:
    """Write the terms of a new thing.

    Args:
        connection: a write transaction.
        owner_id: whose it is.
        resource_id: its id.
        job_id: the job that it belongs to, with which its terms go.
        description: of it.
    """
    terms = sorted(description.terms())
    if terms:
        of_it = {"owner_id": owner_id, "resource_id": resource_id, "job_id": job_id}
        connection.execute(insert(search_terms), [{**of_it, "term": term} for term in terms])


def change_description(
    connection: Connection, owner_id: str, table: Table, resource_id: str, given: Mapping[str, Any]
) -> bool:
    """Change what is said of a thing, and of a job its version; nothing of what it has made.

    Args:
        connection: a write transaction.
        owner_id: whose it has to be.
        table: where its row is.
        resource_id: its id.
        given: what is to change, see `Description.changed`.

    Returns:
        Whether there is such a thing.

    Raises:
        InvalidRequestError: it would have more than `MAX_TAGS` tags.
    """
    which = (table.c.owner_id == owner_id, table.c.id == resource_id)
    if "job_id" in table.c:
        # The job first, as who deletes it does; its terms name it.
        maker = select(jobs.c.id).join(table, table.c.job_id == jobs.c.id).where(*which)
        connection.execute(maker.with_for_update(read=True, key_share=True, of=jobs))
    row = connection.execute(select(table).where(*which).with_for_update()).one_or_none()
    if row is None:
        return False
    changed = description_of(row).changed(given)
    if len(changed.tags or {}) > MAX_TAGS:
        detail = f"wanted at most {MAX_TAGS} tags, got {len(changed.tags or {})} with this change"
        problem = FieldProblem("/tags", "wrong_length", detail)
        raise InvalidRequestError("invalid_request", detail, [problem])
    values: dict[str, Any] = {name: getattr(changed, name) for name in given}
    if "version" in table.c:
        values["version"] = table.c.version + 1
    if given:
        connection.execute(update(table).where(*which).values(**values))
    connection.execute(delete(search_terms).where(search_terms.c.resource_id == resource_id))
    job_id = resource_id if "job_id" not in table.c else row.job_id
    index_description(connection, owner_id, resource_id, job_id, changed)
    return True


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a list is searched for.

    Attributes:
        text: words, all of which a row's name or notes have to have, whole or as the beginning of
            one; one that looks like an id is the beginning of the row's.
        tags: KEY:VALUE, or KEY for any value; a row has to have all of them.
        created_after: no row from before this time.
        created_before: only rows from before it.
    """

    text: str | None = None
    tags: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


EVERYTHING = Search()


def found_by(
    connection: Connection, owner_id: str, table: Table, prefix: str, search: Search
) -> list[ColumnElement[bool]]:
    """Conditions on the rows of a table, whose ids have this prefix and which has `created_at`."""
    conditions: list[ColumnElement[bool]] = []
    ids, words = _ids_and_words(search.text or "")
    conditions += [and_(table.c.id >= one, table.c.id <= one + _LAST_ID) for one in ids]
    conditions += [_has_term(connection, owner_id, table, one, one + _LAST) for one in words]
    for tag in search.tags:
        key, colon, value = tag.partition(":")
        term = tag_term(key, value)
        last = term if colon else term + _LAST
        conditions.append(_has_term(connection, owner_id, table, term, last))
    # Ids sort by time of creation, by a process's clock: they lead near, the column decides.
    if search.created_after is not None:
        conditions.append(table.c.created_at >= search.created_after)
        conditions.append(table.c.id >= first_id(prefix, search.created_after - _SKEW))
    if search.created_before is not None:
        conditions.append(table.c.created_at < search.created_before)
        conditions.append(table.c.id <= first_id(prefix, search.created_before + _SKEW))
    return conditions


def matches(search: Search, name: str) -> bool:
    """Whether a thing that comes with the service, with a name alone, is among what is searched."""
    if search.tags or search.created_after or search.created_before:
        return False
    (ids, words), own = _ids_and_words(search.text or ""), _words(name)
    return not ids and all(any(one.startswith(word) for one in own) for word in words)


def _has_term(
    connection: Connection, owner_id: str, table: Table, first: str, last: str
) -> ColumnElement[bool]:
    """Has a row a term from `first` to `last`?  Put as its database answers it soonest.

    Of few rows: these, sorted. Of many: the table's rows in the order of the list, each looked up.
    """
    terms = search_terms.c
    among = (terms.owner_id == owner_id, terms.term >= first, terms.term <= last)
    first_ones = select(terms.resource_id).where(*among).limit(FEW + 1).subquery()
    n_found: int = connection.execute(select(func.count()).select_from(first_ones)).scalar_one()
    if n_found <= FEW:
        return table.c.id.in_(select(terms.resource_id).where(*among))
    return exists().where(terms.resource_id == table.c.id, *among)


def _ids_and_words(text: str) -> tuple[list[str], list[str]]:
    """What looks like ids in a search, or beginnings of them; and the words of the rest."""
    parts = text.casefold().split()
    ids = [part for part in parts if _ID.fullmatch(part)]
    return ids, _words(" ".join(part for part in parts if part not in ids))


def _words(text: str) -> list[str]:
    """The words of a text in lower case, each once: runs of letters and digits."""
    return [word[:MAX_WORD] for word in dict.fromkeys(re.findall(r"[^\W_]+", text.casefold()))]
