"""The API key, and the sessions of browsers that follow from it.

A session is a signed cookie that names its own end, so that several API processes need nothing in
common but the key, and a new key ends every session.
"""

import base64
import hmac
import re
import secrets
import time
from collections.abc import Callable

SESSION_SECONDS = 7 * 24 * 3600

_SESSION = re.compile(r"([0-9]{1,12})\.[A-Za-z0-9_-]{24}\.([A-Za-z0-9_-]{43})")


class ApiKey:
    """The key of one service.

    Args:
        text: as it is set.
        now: seconds since 1970.
    """

    def __init__(self, text: str, now: Callable[[], float] = time.time) -> None:
        self._text = text.encode()
        self._now = now
        # A key of its own for each use: what one signs means nothing to the other.
        self._for_sessions = hmac.digest(self._text, b"ddcal session", "sha256")
        self._for_changes = hmac.digest(self._text, b"ddcal csrf token", "sha256")

    def is_same(self, given: str) -> bool:
        """Is this the key? Takes as long for every wrong one of the same length."""
        # As bytes: compare_digest refuses text that is not ASCII.
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._text)

    def begin_session(self) -> str:
        """A new session, as its cookie holds it; good for `SESSION_SECONDS`."""
        told = f"{int(self._now()) + SESSION_SECONDS}.{secrets.token_urlsafe(18)}"
        return f"{told}.{_signature(self._for_sessions, told)}"

    def is_session(self, cookie: str) -> bool:
        """Is this a session that this key has begun, and that has not ended?"""
        parts = _SESSION.fullmatch(cookie)
        if parts is None:
            return False
        told, _, signature = cookie.rpartition(".")
        is_signed = hmac.compare_digest(signature, _signature(self._for_sessions, told))
        return is_signed and self._now() < int(parts[1])

    def csrf_token(self, session: str) -> str:
        """What a change made under a session has to come with: another site cannot know it."""
        return _signature(self._for_changes, session)

    def is_csrf_token(self, session: str, given: str) -> bool:
        """Is this the token of that session?"""
        wanted = self.csrf_token(session).encode()
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted)


def _signature(key: bytes, text: str) -> str:
    """HMAC-SHA256 in 43 characters that cookies, forms and headers take as they are."""
    digest = hmac.digest(key, text.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
