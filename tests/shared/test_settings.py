"""Settings: what is refused, and that no error or dump shows a secret."""

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.shared.settings import Settings, SettingsError
from app.shared.startup import read_settings, unknown_variables

SECRET = "a-secret-that-nobody-sees"
URL = f"postgresql+psycopg://me:{SECRET}@host/x"


@pytest.mark.parametrize("key", ["", " ", "\t" * 20, "x" * 15, " " * 10 + "x" * 8, "é" * 20])
def test_a_key_that_anyone_could_guess_or_nobody_could_send_is_refused(key):
    """Empty, blank, short, or no visible ASCII."""
    with pytest.raises(ValidationError, match="an API key"):
        Settings(api_key=key)


def test_a_key_of_sixteen_characters_is_taken():
    """The shortest one."""
    key = Settings(api_key="x" * 16).api_key
    assert key is not None
    assert key.get_secret_value() == "x" * 16


def test_without_a_key_and_with_one_exclude_each_other():
    """Neither wins: one of the two is a mistake."""
    with pytest.raises(SettingsError, match="exclude each other"):
        read_settings({"api_key": SECRET, "no_key": True})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_no_key_is_for_loopback(host):
    """The three ways to say it."""
    assert Settings(no_key=True, host=host).no_key


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "my-machine"])
def test_no_key_is_for_nothing_else(host):
    """Addresses and names that others may reach."""
    with pytest.raises(SettingsError, match="reachable from outside"):
        read_settings({"no_key": True, "host": host})


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": "x"},
        {"no_key": True},
        {"lease_seconds": float("inf")},
        {"lease_seconds": 1},
        {"database_url": f"mysql://{SECRET}"},
        {"redis_url": f"http://{SECRET}"},
        {"redis_url": f"redis://:{SECRET}@host:port"},
        {"api_key": SECRET[:15]},
        {"api_key": [SECRET]},
        {"nothing": SECRET},
    ],
)
def test_no_error_shows_a_secret(wrong):
    """Neither in words for people nor in pydantic's own."""
    given = {"api_key": SECRET, "database_url": URL, **wrong}
    with pytest.raises(ValidationError) as raised:
        Settings(**given)
    with pytest.raises(SettingsError) as told:
        read_settings(given)
    for text in (str(raised.value), repr(raised.value), str(told.value)):
        assert SECRET[:15] not in text


def test_no_dump_shows_a_secret():
    """A log of the settings has neither the key nor the database's password."""
    settings = Settings(api_key=SECRET, database_url=URL, redis_url=f"redis://:{SECRET}@host")
    assert SECRET not in f"{settings} {settings!r}"


def test_variables_are_known_in_either_case():
    """As the settings read them; those of others are none of ours."""
    assert unknown_variables(["DDCAL_PORT", "ddcal_port", "DDCAL_URL", "HOME"]) == []
    assert unknown_variables(["ddcal_prot"]) == [
        "ddcal_prot is not a setting and is ignored; did you mean DDCAL_PORT?"
    ]


def test_every_setting_stands_in_the_reference_with_its_default():
    """docs/settings.md is complete, and true."""
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `DDCAL_(\w+)` \| (?:`(.+?)`|unset|empty) \|", page, re.M))
    told = {name.lower(): text for name, text in rows.items()}
    assert told.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        if told[name]:
            assert Settings(**{name: told[name]}).model_dump()[name] == field.default
        else:
            assert field.default in (None, "")


@pytest.mark.parametrize(("n_workers", "n_threads"), [(1, 15), (2, 7), (5, 3), (64, 1)])
def test_workers_share_cores_and_memory(monkeypatch, n_workers, n_threads):
    """A core stays with the service; what is set for a trainer is not divided."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    shared = Settings(workers=n_workers)
    assert shared.n_threads == n_threads
    alone = Settings().max_trainer_bytes
    assert alone // n_workers - 1 <= shared.max_trainer_bytes <= alone // n_workers
    own = Settings(workers=n_workers, trainer_threads=4, trainer_memory_bytes=2**30)
    assert (own.n_threads, own.max_trainer_bytes) == (4, 2**30)
