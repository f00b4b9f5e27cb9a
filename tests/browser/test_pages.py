"""Every page that a link leads to, in a real browser: readable by all, fitting any width.

The pages are found by following links from the first one of a service that has done a small
pipeline, so a new page is looked at as soon as one leads to it, and a dead link fails.
"""

import gzip
import html
import json
import re
import urllib.parse
from pathlib import Path

import httpx
import pytest

from app.web.rendering import NAVIGATION
from tests.browser.chromium import new_page
from tests.browser.test_login import devtools
from tests.browser.test_report_page import BEYOND
from tests.services import SHORT_PIPELINE, running_service
from tests.waiting import until

__all__ = ["devtools"]  # a fixture, asked for by name
pytestmark = [pytest.mark.broker, pytest.mark.trainer, pytest.mark.timeout(1200)]

AXE = gzip.decompress(
    Path(__file__).with_name("axe").joinpath("axe-4.14.1.min.js.gz").read_bytes()
).decode()
ID = re.compile(r"(?<=[a-z]_)[0-9a-z]{26}")
LINK = re.compile(r'<a\b[^>]*?\bhref="([^"#]*)')
# The API's document has a viewer of its own, and logging out ends the walk.
ELSEWHERE = ("/docs", "/logout", "/v1/", "/openapi.json", "/metrics")
VIOLATIONS = """axe.run(document, {iframes: false}).then(found => found.violations.flatMap(
  one => one.nodes.map(node => `${one.id}: ${one.help}: ${node.html.slice(0, 120)}`)))"""
ACCEPT = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MARKUP = "<b>bold</b> & שלום"
WIDTHS = (360, 1280, 2560)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A running `ddcal serve` without a key; two small pipelines have ended, one job waits."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        with httpx.Client(base_url=running.url, timeout=60) as client:
            jobs = []
            for seed in (1, 2):
                asked = {**SHORT_PIPELINE, "name": f"{MARKUP} {seed}", "tags": {"env": MARKUP}}
                asked["params"] = {**asked["params"], "seed": seed}
                jobs.append(client.post("/v1/jobs", json=asked).raise_for_status().json()["links"])
            until(lambda: states(client, jobs) == {"succeeded"}, seconds=600)
            later = {**SHORT_PIPELINE, "name": "later", "start_at": "2099-01-01T00:00:00Z"}
            client.post("/v1/jobs", json=later).raise_for_status()
        yield running.url


def states(client, jobs) -> set[str]:
    """Of some jobs, by their links."""
    return {client.get(links["self"]).json()["state"] for links in jobs}


@pytest.fixture(scope="module")
def addresses(site):
    """One address of each kind of page."""
    return pages_of(site)


@pytest.fixture
def tab(devtools):
    """A tab that notes what the browser complains of."""
    with new_page(devtools) as opened:
        opened.call("Log.enable")
        yield opened


def complaints(tab) -> list[str]:
    """What has come to the browser's console since the page was opened."""
    wanted = ("Log.entryAdded", "Runtime.exceptionThrown")
    return [json.dumps(one["params"])[:300] for one in tab.events if one.get("method") in wanted]


def pages_of(base: str) -> dict[str, str]:
    """One address of each kind of page, by its path with ids left out: a walk along all links."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = ["/"]
    with httpx.Client(base_url=base, headers=ACCEPT, timeout=60) as client:
        while waiting:
            address = waiting.pop(0)
            parts = urllib.parse.urlsplit(address)
            kind = ID.sub("ID", parts.path)
            if kind in seen or parts.netloc or not kind or kind.startswith(ELSEWHERE):
                continue
            seen.add(kind)
            answer = client.get(address)
            assert answer.status_code == 200, f"{address}: {answer.status_code}"
            if answer.headers["content-type"].startswith("text/html"):
                found[kind] = address
                waiting += [html.unescape(one) for one in LINK.findall(answer.text)]
    return found


def test_every_page_of_the_bar_is_found(addresses):
    """And a page of each thing that was made."""
    assert {path for path in NAVIGATION if not path.startswith("/docs")} <= set(addresses)
    assert {"/jobs/job_ID", "/results/set_ID", "/results/rep_ID"} <= set(addresses)


def test_pages_are_accessible(site, addresses, tab):
    """Axe finds nothing, in light or dark, on a phone or a desk; the console stays empty."""
    wrong = []
    for kind, address in addresses.items():
        for width, scheme in ((360, "dark"), (1280, "light")):
            resize(tab, width, scheme)
            tab.open(f"{site}{address}")
            tab.evaluate(f"{AXE}; 0")
            found = tab.evaluate(VIOLATIONS)
            wrong += [f"{kind} {width} {scheme}: {one}" for one in [*found, *complaints(tab)]]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_their_width(site, addresses, tab, tmp_path, width):
    """Nothing sticks out but in tables and code; pictures stay beside the test, to look at."""
    wrong = []
    for kind, address in addresses.items():
        tab.open(f"{site}{address}")
        for scheme in ("dark", "light"):
            name = kind.strip("/").replace("/", "-") or "home"
            tab.screenshot(tmp_path / f"{name}-{width}-{scheme}.png", width=width, scheme=scheme)
        if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wrong.append(f"{kind}: {tab.evaluate(BEYOND)}")
    assert not wrong, "\n".join(wrong)


def test_what_users_wrote_is_text(site, addresses, tab):
    """Names and tags full of markup are shown as they were typed, on every page."""
    for address in addresses.values():
        tab.open(f"{site}{address}")
        assert tab.evaluate("[...document.querySelectorAll('main b')].length") == 0, address


def resize(tab, width, scheme):
    """How wide the window is, and what its reader prefers."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", **size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    tab.call("Emulation.setEmulatedMedia", features=[feature])
