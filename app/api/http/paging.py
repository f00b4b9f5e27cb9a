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

Asked = Mapping[str, object]
"""What a list was asked for, as JSON has it."""


def page_token(last_id: str, asked: Asked, value: float | None = None) -> str:
    """A token for what comes after `last_id`; it works for the same question only.

    Args:
        last_id: of the last of the page.
        asked: what the list was asked for.
        value: that the last one has, in a list sorted by one.
    """
    shown = "" if value is None else repr(value)
    text = f"{_digest(last_id, shown, asked)}.{last_id}.{shown}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def page_position(token: str | None, asked: Asked) -> tuple[str, float | None] | None:
    """The id, and the value sorted by, after which a page starts; None for the first page.

    The token grants nothing: every list is filtered by owner whatever it says.

    Raises:
        MalformedRequestError: the token is none of ours, or belongs to another question.
    """
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    digest, _, rest = text.partition(".")
    last_id, _, value = rest.partition(".")
    if not _KEY.fullmatch(last_id) or digest != _digest(last_id, value, asked):
        raise MalformedRequestError(
            "invalid_page_token",
            "page_token has to be a next_page_token of this list, asked with the same filters",
        )
    try:
        return last_id, float(value) if value else None
    except ValueError:
        raise MalformedRequestError(
            "invalid_page_token", "page_token was not made by this service"
        ) from None


def _digest(last_id: str, value: str, asked: Asked) -> str:
    text = json.dumps([last_id, value, sorted(asked.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
