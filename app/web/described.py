"""Name, tags and notes as forms have them, and as a change of the API."""

from collections.abc import Mapping
from typing import Any

from app.shared.errors import InvalidRequestError, MalformedRequestError

Described = dict[str, str]
"""A form's fields, by name."""
FIELDS = ("name", "tags", "notes")


def described(name: str | None, tags: Mapping[str, str] | None, notes: str | None) -> Described:
    """What a thing is called, as its form has it: one tag a line."""
    lines = "\n".join(f"{key}:{value}" for key, value in (tags or {}).items())
    return {"name": name or "", "tags": lines, "notes": notes or ""}


def given_description(fields: Mapping[str, str]) -> Described:
    """A form's fields as they were sent, which has the breaks of lines as two characters.

    Raises:
        MalformedRequestError: one is missing; taken for an empty one, it would be forgotten.
    """
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        detail = f"the form lacks {', '.join(missing)}: send it empty to take it away"
        raise MalformedRequestError("malformed_form", detail)
    return {name: fields[name].replace("\r\n", "\n").strip() for name in FIELDS}


def change_of(given: Described, known: Mapping[str, str] | None) -> dict[str, Any]:
    """What a form has, as a change of the API: a known tag that it lacks is taken away."""
    tags: dict[str, str | None] = dict.fromkeys(known or {})
    for line in filter(None, map(str.strip, given["tags"].split("\n"))):
        key, _, value = line.partition(":")
        tags[key.strip()] = value.strip()
    return {"name": given["name"] or None, "tags": tags, "notes": given["notes"] or None}


def field_problems(error: InvalidRequestError) -> dict[str, str]:
    """What is wrong, by the form's field."""
    return {one.pointer.split("/")[1]: one.detail for one in error.problems}
