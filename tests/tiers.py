"""Tiers of tests: which real servers and processes a test starts, as pytest's markers.

Markers come from where a test stands and what it asks for, its fixtures and parameters, so that a
new test has them by itself; one that starts a server in its own code says so with `@pytest.mark`.
A watch on every start of a program refuses one that the running test has no marker for.
"""

import os
import sys
from collections.abc import Collection, Iterable, Sequence

import pytest

from tests.browser import chromium

MARKERS = {
    "postgresql": "runs on a real PostgreSQL",
    "broker": "runs on a real Redis-compatible broker",
    "trainer": "starts a real trainer, alone or within the whole service",
    "browser": "drives a real Chromium; only runs when asked for by -m, where there is one",
}
BY_FIXTURE = {
    "postgres_folder": ("postgresql",),
    "migrated_postgres": ("postgresql",),
    "postgres_url": ("postgresql",),
    "own_postgres": ("postgresql",),
    "broker_url": ("broker",),
    "service": ("broker", "trainer"),
    "hurt_service": ("broker", "trainer"),
    "trainer": ("trainer",),
}
# Where a test's own code starts them: a folder of tests or a file's stem.
BY_PLACE = {
    "e2e": ("broker", "trainer"),
    "browser": ("browser",),
    "test_chaos": ("broker",),
    "test_readiness": ("broker",),
    "test_resume": ("trainer",),
}
_BY_PROGRAM = {
    "initdb": ("postgresql",),
    "postgres": ("postgresql",),
    "valkey-server": ("broker",),
    "worker.trainer.trainer": ("trainer",),
    "worker.nursery": ("trainer",),
    **dict.fromkeys(chromium.NAMES, ("browser",)),
    "celery": ("broker",),
    "worker.supervisor": ("broker",),
}
_BY_COMMAND = {"serve": ("broker", "trainer"), "worker": ("trainer",), "demo": ("trainer",)}
_COMMAND_LINES = ("ddcal.cli", "app")


def markers_for(
    places: Iterable[str], fixtures: Iterable[str], parameters: Collection[object]
) -> set[str]:
    """The markers that follow from where a test stands, its fixtures and its parameters' values."""
    found = {marker for place in places for marker in BY_PLACE.get(place, ())}
    found |= {marker for fixture in fixtures for marker in BY_FIXTURE.get(fixture, ())}
    # Fixtures for both databases ask for the server only once they know their parameter.
    return found | ({"postgresql"} if "postgresql" in parameters else set())


def is_to_run(markers: Collection[str], asked_for: str) -> bool:
    """Whether a test runs at all: those of a browser where it is there, and `-m` names it."""
    if "browser" not in markers:
        return True
    return "browser" in asked_for and chromium.executable() is not None


def markers_needed(argv: Sequence[object]) -> set[str]:
    """The markers that a test needs to start a program."""
    words = [os.fsdecode(word) for word in argv if isinstance(word, str | bytes | os.PathLike)]
    names = {word.rpartition("/")[2] for word in words}
    found = {marker for name in names for marker in _BY_PROGRAM.get(name, ())}
    for module in _COMMAND_LINES:
        if module in words:
            command = words[words.index(module) + 1 :][:1]
            found |= {marker for name in command for marker in _BY_COMMAND.get(name, ())}
    return found


class ProgramWatch:
    """Refuses, in this process, to start what the running test has no marker for."""

    def __init__(self) -> None:
        """Watch from now on; an audit hook cannot be taken back."""
        self._running: pytest.Item | None = None
        sys.addaudithook(self._look)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        """Know which test runs, its fixtures' set-up and teardown included."""
        self._running = item
        try:
            return (yield)
        finally:
            self._running = None

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "subprocess.Popen" or self._running is None:
            return
        argv = arguments[1]
        words = argv if isinstance(argv, list | tuple) else [argv]
        has = {marker.name for marker in self._running.iter_markers()}
        if missing := sorted(markers_needed(words) - has):
            wanted = ", ".join(f"pytest.mark.{name}" for name in missing)
            raise PermissionError(f"{words[0]} is started by a test without {wanted}")
