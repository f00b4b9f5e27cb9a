"""Each test has the markers of what it starts, and cannot start what it has no marker for."""

import subprocess
import sys

import pytest

from tests.browser import chromium
from tests.tiers import (
    BY_FIXTURE,
    BY_PLACE,
    MARKERS,
    is_to_run,
    markers_for,
    markers_needed,
)

SERVE = [sys.executable, "-P", "-m", "ddcal.cli", "serve", "--port", "0"]


@pytest.mark.parametrize(
    ("places", "fixtures", "parameters", "markers"),
    [
        (["api"], ["tmp_path"], [], set()),
        (["e2e"], [], [], {"broker", "trainer"}),
        (["api"], ["postgres_url"], [], {"postgresql"}),
        (["e2e"], ["postgres_folder", "broker_url"], [], {"postgresql", "broker", "trainer"}),
        (["api"], ["migrated_url"], ["sqlite"], set()),
        (["api"], ["migrated_url"], ["postgresql"], {"postgresql"}),
    ],
)
def test_markers_follow_from_what_a_test_asks_for(places, fixtures, parameters, markers):
    """Its folder, its fixtures, and the database among its parameters."""
    assert markers_for(places, fixtures, parameters) == markers


@pytest.mark.parametrize(
    ("markers", "asked_for", "there", "runs"),
    [
        ({"broker"}, "", False, True),
        ({"browser"}, "", True, False),
        ({"browser"}, "not broker", True, False),
        ({"browser"}, "browser", True, True),
        ({"browser"}, "browser", False, False),
    ],
)
def test_a_browser_runs_where_it_is_there_and_asked_for(
    markers, asked_for, there, runs, tmp_path, monkeypatch
):
    """No other run knows of it, so that none is skipped."""
    if there:
        (tmp_path / chromium.NAMES[0]).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_to_run(markers, asked_for) is runs


def test_every_rule_gives_a_marker_that_there_is():
    """No rule names one that pytest does not know."""
    given = {marker for rules in (BY_FIXTURE, BY_PLACE) for row in rules.values() for marker in row}
    assert given == set(MARKERS)


@pytest.mark.parametrize(
    ("argv", "markers"),
    [
        (["sleep", "1"], set()),
        ([sys.executable, "-c", "import celery"], set()),
        (["/wheel/bin/initdb", "-D", "data"], {"postgresql"}),
        ([b"/wheel/valkey-server", "--port", "0"], {"broker"}),
        ([sys.executable, "-m", "worker.trainer.trainer"], {"trainer"}),
        (["/usr/bin/chromium", "--headless=new"], {"browser"}),
        (SERVE, {"broker", "trainer"}),
        ([sys.executable, "-P", "-m", "app", "serve"], {"broker", "trainer"}),
        ([sys.executable, "-P", "-m", "worker.supervisor", "-Q", "gpu"], {"broker"}),
        ([sys.executable, "-m", "ddcal.cli", "housekeeping", "serve"], set()),
    ],
)
def test_programs_need_markers(argv, markers):
    """The servers, the trainer, and the commands that start them."""
    assert markers_needed(argv) == markers


@pytest.mark.parametrize("argv", [["valkey-server", "--version"], SERVE], ids=["broker", "serve"])
def test_a_test_without_the_marker_starts_no_server(argv):
    """It is told which marker is missing, before anything runs."""
    with pytest.raises(PermissionError, match=r"pytest\.mark\.broker"):
        subprocess.Popen(argv)


@pytest.mark.broker
def test_a_test_with_the_marker_does(broker_url):
    """The same start is let through."""
    assert broker_url.startswith("redis+socket://")


def test_markers_reach_the_tests(request):
    """This one has none of them; of the one above pytest was told by hand and by its fixture."""
    assert not {marker.name for marker in request.node.iter_markers()} & set(MARKERS)
