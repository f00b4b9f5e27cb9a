"""Idempotency-Key: the header by which a client may send a creating request again."""

import re
from typing import Any

from fastapi import Request

from app.shared.engine.idempotency import KeyedRequest, fingerprint
from app.shared.errors import MalformedRequestError
from app.submission.pointers import brief

REPLAYED = {"Idempotent-Replayed": "true"}
MAX_KEY_LENGTH = 255

# A structured field's string (RFC 8941) or, as many clients send it, the text without quotes.
_QUOTED = r'"(?:[!#-\[\]-~]|\\["\\]){1,255}"'
_BARE = r"[!#-~][!-~]{0,254}"
_FORM = re.compile(f"{_QUOTED}|{_BARE}")
_DESCRIPTION = (
    "1 to 255 visible ASCII characters, quoted or not, that no other request to the same address "
    "has. The request sent again under its key makes nothing new: it is answered with what it "
    "made, as that is now, and `Idempotent-Replayed: true`. Another request to the address under "
    "the key is refused (422), and so is the same once what it made has been deleted (410). Keys "
    "are kept for a week, or as the service is set."
)


# Described here and read below: a parameter of FastAPI's costs every request what reading it does.
KEY_HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": _DESCRIPTION,
    "schema": {"type": "string", "pattern": f"^(?:{_QUOTED}|{_BARE})$"},
}


def idempotency_key(request: Request) -> str | None:
    """The key of a creating request, without its quotes; None where it has none.

    Raises:
        MalformedRequestError: it is no such key, or there are several.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not _FORM.fullmatch(given[0]):
        wanted = (
            f"Idempotency-Key has to be one key of 1 to {MAX_KEY_LENGTH} visible ASCII characters"
        )
        raise MalformedRequestError(
            "invalid_idempotency_key", f"{wanted}, got {brief(', '.join(given))}"
        )
    text = given[0]
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def keyed(request: Request, key: str | None, asked: object) -> KeyedRequest | None:
    """A request with its key, if it has one; `asked` is all that it asks for, as JSON has it."""
    if key is None:
        return None
    return KeyedRequest(path=request.url.path, key=key, fingerprint=fingerprint(asked))
