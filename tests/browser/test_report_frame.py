"""A report inside its page, in a real browser: it runs nothing, and its links lead out of it."""

import pytest

from tests.browser.chromium import new_page
from tests.browser.test_explorer import stored
from tests.browser.test_login import address, devtools, served
from tests.waiting import until
from tests.worker.trainer.test_kinds import pipeline, report

__all__ = ["devtools", "pipeline", "report"]  # fixtures, asked for by name

LINK = """(frame => {
  frame.scrollIntoView();
  const link = [...frame.contentDocument.querySelectorAll("a")].find(
    one => one.getAttribute("href").startsWith(START));
  for (const one of frame.contentDocument.querySelectorAll("details")) one.open = true;
  link.scrollIntoView({block: "center"});
  const [outer, inner] = [frame, link].map(one => one.getBoundingClientRect());
  return [outer.x + inner.x + inner.width / 2, outer.y + inner.y + inner.height / 2];
})(document.querySelector("iframe.report"))"""


@pytest.fixture
def framed(devtools, migrated_sqlite, tmp_path, report):
    """A tab with the page of a report that a trainer has written."""
    with served(migrated_sqlite, tmp_path, None) as api, new_page(devtools) as tab:
        tab.open(address(api, f"/results/{stored(api, report[0])}"))
        until(lambda: "Calibration report" in str(tab.evaluate(TITLE)))
        yield tab


TITLE = "document.querySelector('iframe.report').contentDocument?.title"


def click(tab, start):
    """Click the first link of the frame that begins so, as a hand does."""
    x, y = tab.evaluate(LINK.replace("START", f"'{start}'"))
    for kind in ("mousePressed", "mouseReleased"):
        where = {"x": x, "y": y}
        tab.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)


def test_a_link_to_a_result_leads_out_of_the_frame(framed):
    """To the page of the network, in the whole tab."""
    click(framed, "/results/mdl_")
    until(lambda: framed.path().startswith("/results/mdl_"))


def test_a_link_within_the_report_stays_in_the_frame(framed):
    """The tab stays where it is."""
    before = framed.path()
    click(framed, "#")
    until(lambda: framed.evaluate("document.querySelector('iframe').contentWindow.location.hash"))
    assert framed.path() == before
