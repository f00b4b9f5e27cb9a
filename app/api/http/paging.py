"""Keyset pages: how far a list has been read, in a token bound to what was asked."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping

from app.shared.errors import MalformedRequestError

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
_KEY = re.compile(r"[a-z]{3,5}_[0-9a-z]{26}")


def page_token(last_id: str, filters: Mapping[str, str | int | None]) -> str:
    """A token for what comes after `last_id`; it works with the same filters only."""
    return base64.urlsafe_b64encode(f"{last_id}.{_digest(last_id, filters)}".encode()).decode()


def page_position(token: str | None, filters: Mapping[str, str | int | None]) -> str | None:
    """The id after which a page starts, None for the first page.

    The token grants nothing: every list is filtered by owner whatever it says.

    Raises:
        MalformedRequestError: the token is none of ours, or belongs to other filters.
    """
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    last_id, _, digest = text.partition(".")
    if not _KEY.fullmatch(last_id) or digest != _digest(last_id, filters):
        raise MalformedRequestError(
            "invalid_page_token",
            "page_token has to be a next_page_token of this list, asked with the same filters",
        )
    return last_id


def _digest(last_id: str, filters: Mapping[str, str | int | None]) -> str:
    text = json.dumps([last_id, sorted(filters.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
