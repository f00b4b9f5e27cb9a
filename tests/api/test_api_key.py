"""The API key's sessions and tokens, against HMAC as its RFC defines it."""

import base64
import hashlib
import hmac

import pytest

from app.api.http.api_key import SESSION_SECONDS, ApiKey

KEY = "a-key-of-some-length"


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    """HMAC as RFC 2104 writes it down, for keys of at most 64 bytes."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + text).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()


def test_a_session_is_signed_by_a_key_of_its_own():
    """HMAC-SHA256 of what it says, under a key that HMAC-SHA256 makes of the API key."""
    told, _, signature = ApiKey(KEY).begin_session().rpartition(".")
    derived = hmac_sha256(KEY.encode(), b"ddcal session")
    wanted = base64.urlsafe_b64encode(hmac_sha256(derived, told.encode())).decode().rstrip("=")
    assert signature == wanted


def test_processes_with_the_same_key_know_each_others_sessions():
    """Nothing else is in common."""
    session = ApiKey(KEY).begin_session()
    assert ApiKey(KEY).is_session(session)
    assert ApiKey(KEY).is_csrf_token(session, ApiKey(KEY).csrf_token(session))


def test_a_new_key_ends_every_session():
    """And every token."""
    session = ApiKey(KEY).begin_session()
    other = ApiKey(KEY + "x")
    assert not other.is_session(session)
    assert not other.is_csrf_token(session, ApiKey(KEY).csrf_token(session))


@pytest.mark.parametrize(("late", "is_one"), [(-1, True), (0, False), (1, False)])
def test_a_session_ends(late, is_one):
    """At the second that it names."""
    session = ApiKey(KEY, now=lambda: 1000.0).begin_session()
    assert ApiKey(KEY, now=lambda: 1000 + SESSION_SECONDS + late).is_session(session) is is_one


def test_every_character_of_a_session_counts():
    """No other text of one changed character is a session."""
    key = ApiKey(KEY)
    session = key.begin_session()
    for at, was in enumerate(session):
        for other in {"A", "0", ".", "é"} - {was}:
            changed = session[:at] + other + session[at + 1 :]
            # The last character of 43 holds four bits: others may mean the same bytes, not text.
            assert not key.is_session(changed)


@pytest.mark.parametrize("cookie", ["", ".", "..", "a.b.c", "1" * 13 + "." + "x" * 24, "\ud800"])
def test_what_is_no_session(cookie):
    """Whatever a cookie may hold."""
    assert not ApiKey(KEY).is_session(cookie)


def test_sessions_differ_and_so_do_their_tokens():
    """No two of one second are the same."""
    sessions = {ApiKey(KEY, now=lambda: 0.0).begin_session() for _ in range(50)}
    assert len(sessions) == len({ApiKey(KEY).csrf_token(one) for one in sessions}) == 50


@pytest.mark.parametrize("given", ["", KEY[:-1], KEY + "x", KEY.upper(), "é", "\ud800", "\0"])
def test_other_keys_are_not_the_key(given):
    """Compared whole, whatever the text is."""
    assert ApiKey(KEY).is_same(KEY)
    assert not ApiKey(KEY).is_same(given)


def test_keys_are_compared_in_constant_time(monkeypatch):
    """By hmac.compare_digest, which does not stop at the first byte that differs."""
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    key = ApiKey(KEY)
    session = key.begin_session()
    assert not key.is_same(KEY)
    assert not key.is_session(session)
    assert not key.is_csrf_token(session, key.csrf_token(session))
    assert len(compared) == 3
