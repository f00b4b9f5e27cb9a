"""Addresses of pages: what a query asks, and the same with something changed."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from fastapi import Request


def query_fields(request: Request, known: Sequence[str]) -> dict[str, str]:
    """The known fields of a query that say something: forms send those left empty, too."""
    query = request.query_params
    return {name: query[name].strip() for name in known if query.get(name, "").strip()}


def address_with(path: str, fields: Mapping[str, str], **changed: str | None) -> str:
    """A path with a query; None leaves a field out."""
    asked = {name: value for name, value in {**fields, **changed}.items() if value is not None}
    return f"{path}?{urlencode(asked)}" if asked else path
