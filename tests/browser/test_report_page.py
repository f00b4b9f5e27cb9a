"""A report in a real browser: nothing scrolls sideways, and links within it lead somewhere."""

import json

import pytest

from tests.browser.chromium import new_page
from tests.browser.test_login import devtools
from tests.worker.trainer.report.test_report import changed, page, report
from worker.trainer.report.page.page import report_page

__all__ = ["devtools", "page", "report"]  # fixtures, asked for by name

LONG = "TS by 200 steps of L-BFGS, 1,000 draws an image, on validation images of another camera"
BEYOND = """[...document.querySelectorAll("body *")].filter(
  one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(one => one.outerHTML.slice(0, 80))"""


@pytest.fixture
def tab(devtools):
    """A tab of its own."""
    with new_page(devtools) as opened:
        yield opened


@pytest.mark.parametrize("width", [400, 800, 1280])
@pytest.mark.parametrize("is_open", [False, True], ids=["folded", "unfolded"])
def test_nothing_scrolls_sideways(tab, report, tmp_path, width, is_open):
    """At the width of a telephone, a tablet and a desk, with names as long as they get."""
    rows = tuple(changed(row, calibration=f"{LONG} {k}") for k, row in enumerate(report.rows))
    path = tmp_path / "report.html"
    steps = (f"logits sent as one file (sha256 {'0' * 64})",)
    path.write_text(report_page(changed(report, rows=rows, steps=steps), []))
    tab.open(path.as_uri())
    tab.screenshot(tmp_path / "report.png", width=width, scheme="dark")
    tab.evaluate(
        f"document.querySelectorAll('details').forEach(one => one.open = {json.dumps(is_open)})"
    )
    assert tab.evaluate(BEYOND) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_paper_shows_what_is_folded(tab, page, tmp_path):
    """The rows of every network are printed; the list of contents is not."""
    path = tmp_path / "report.html"
    path.write_text(page)
    tab.open(path.as_uri())
    rows = "document.querySelector('#networks table').checkVisibility()"
    shown = "getComputedStyle(document.querySelector('nav')).display"
    assert not tab.evaluate(rows)
    assert tab.evaluate(shown) != "none"
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.evaluate(rows)
    assert tab.evaluate(shown) == "none"


def test_a_word_leads_to_what_it_means(tab, page, tmp_path):
    """From the head of the table to the definition, in the same page."""
    path = tmp_path / "report.html"
    path.write_text(page)
    tab.open(path.as_uri())
    tab.evaluate("document.querySelector('a.term').click()")
    assert tab.evaluate("location.hash") == "#word-ece"
    assert "expected calibration error" in str(
        tab.evaluate("document.querySelector(location.hash).innerText")
    )
