"""The page of a job in a real browser: it follows a run, and pictures are slid through."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from app.shared.engine import runs
from ddcal_core.formats.pictures import image_png
from tests.api.test_pipelines import PIPELINE
from tests.api.test_snapshots import draw
from tests.browser.chromium import new_page
from tests.browser.test_login import address, devtools, served
from tests.browser.test_pages import AXE, VIOLATIONS, complaints
from tests.waiting import until

__all__ = ["devtools"]  # a fixture, asked for by name
STAGE = """(stage => [stage.querySelector("img").src.split("/").pop(),
  stage.querySelector(".at").textContent,
  stage.querySelector("img").naturalWidth > 0])(document.getElementById("stage"))"""
N_PICTURES = "document.querySelectorAll('.strip li').length"


@pytest.fixture
def api(migrated_sqlite: Path, tmp_path: Path):
    """A service without a key, and without workers."""
    with served(migrated_sqlite, tmp_path, None) as api:
        yield api


@contextlib.contextmanager
def opened(devtools, api, job):
    """The page of a job in a tab of its own; nothing is complained of until it is closed."""
    with new_page(devtools) as tab:
        tab.call("Log.enable")
        tab.open(address(api, f"/jobs/{job['id']}"))
        yield tab
        assert complaints(tab) == []


def tell(api, run, step):
    """Report progress, as a worker does."""
    told = {"phase": "distill", "step": step, "steps": 100, "values": {"loss": 1 / (1 + step)}}
    with api.database.write() as connection:
        runs.beat(connection, run, lease_seconds=60, progress=told, is_event=True)


def is_shown(tab, step):
    """Whether the stage comes to have the picture of a step, and says so."""
    until(lambda: tab.evaluate(STAGE) == [str(step), f"step {step}", True])
    return True


def click(tab, selector):
    """Press what leads to no other page."""
    tab.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def slide(tab, place):
    """Move the slider, as a hand does."""
    tab.evaluate(
        f"{{ const range = document.querySelector('.slide input'); range.value = {place}; "
        "range.dispatchEvent(new Event('input', {bubbles: true})); }"
    )


def test_a_running_job_is_followed_without_a_reload(devtools, api, picture):
    """Pictures, curves and progress come by themselves; what a reader does meanwhile stays."""
    job = api.submit("pipeline", PIPELINE)
    run = api.claim()
    with opened(devtools, api, job) as tab:
        tab.evaluate("window.isTheSame = true")
        click(tab, "#describe summary")
        tab.fill("#describe [name=name]", "half typed")
        click(tab, "#copy-JSON summary")
        assert not tab.evaluate("document.querySelector('#copy-JSON .copy').hidden")
        draw(api, run, 0, 10, picture=picture)
        tell(api, run, 10)
        tell(api, run, 20)
        until(lambda: tab.evaluate(N_PICTURES) == 2)
        assert is_shown(tab, 10)
        until(lambda: "distill 20%" in tab.text())
        assert tab.evaluate("document.querySelectorAll('svg[role=img] .line').length") == 1
        slide(tab, 0)
        assert is_shown(tab, 0)
        draw(api, run, 30, picture=picture)
        # The slider follows a moment after the pictures.
        until(lambda: tab.evaluate("document.querySelector('.slide input').max") == "2")
        assert tab.evaluate(N_PICTURES) == 3
        assert is_shown(tab, 0)
        slide(tab, 2)
        draw(api, run, 40, picture=picture)
        until(lambda: tab.evaluate(N_PICTURES) == 4)
        until(lambda: is_shown(tab, 40))
        assert tab.evaluate("document.querySelector('#describe [name=name]').value") == "half typed"
        assert tab.evaluate("document.querySelector('#describe').open")
        assert tab.evaluate("document.querySelector('#copy-JSON').open")
        assert tab.evaluate("window.isTheSame")
        tab.evaluate(f"{AXE}; 0")
        assert tab.evaluate(VIOLATIONS) == []


def test_pictures_play_from_the_start(devtools, api, picture):
    """Each in its turn, to the newest; one is chosen by its small picture as well."""
    job = api.submit("pipeline", PIPELINE)
    run = api.claim()
    draw(api, run, 0, 10, 20, 30, picture=picture)
    with opened(devtools, api, job) as tab:
        assert is_shown(tab, 30)
        tab.evaluate(
            "{ window.seen = []; const at = document.querySelector('.stage .at'); "
            "new MutationObserver(() => window.seen.push(at.textContent))"
            ".observe(at, {childList: true}); }"
        )
        click(tab, ".slide button")
        seen = "JSON.stringify([...new Set(window.seen)])"
        every = [f"step {step}" for step in (0, 10, 20, 30)]
        until(lambda: json.loads(tab.evaluate(seen)) == every)
        until(lambda: tab.evaluate("document.querySelector('.slide button').textContent") == "Play")
        tab.evaluate("document.querySelectorAll('.strip a')[1].click()")
        assert is_shown(tab, 10)
        assert tab.path() == f"/jobs/{job['id']}"


def test_without_a_script_all_pictures_are_there(devtools, api, picture):
    """Side by side, the newest large; no control that would do nothing."""
    job = api.submit("pipeline", PIPELINE)
    draw(api, api.claim(), 0, 10, picture=picture)
    with new_page(devtools) as tab:
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(address(api, f"/jobs/{job['id']}"))
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
        assert tab.evaluate(N_PICTURES) == 2
        assert is_shown(tab, 10)
        assert tab.evaluate("document.querySelector('.slide').offsetParent === null")


@pytest.fixture(scope="module")
def picture():
    """The bytes of a small picture."""
    return image_png(np.zeros((1, 8, 8), np.uint8))
