"""/docs in a real browser: it shows the document, tries requests, and asks no other host."""

import json
from urllib.parse import urlsplit

import pytest

from tests.browser.test_login import KEY, address, any_api, api, devtools, log_in, page
from tests.waiting import until

__all__ = ["any_api", "api", "devtools", "page"]  # fixtures, asked for by name

# All that a web component shows, those within it included.
SHOWN = """(function shown(node) {
  const below = [...(node.shadowRoot ?? node).children];
  return (node.shadowRoot?.textContent ?? "") + below.map(shown).join(" ");
})(document.querySelector("rapi-doc"))"""
FIND = """(function find(node, selector) {
  const root = node.shadowRoot ?? node;
  const found = root.querySelector(selector);
  if (found) return found;
  for (const one of root.querySelectorAll("*")) {
    const below = one.shadowRoot && find(one, selector);
    if (below) return below;
  }
  return null;
})(document.querySelector("rapi-doc"), %s)"""


def element(selector):
    """Script that finds an element, however deep in web components."""
    return FIND % json.dumps(selector)


def shows(page, words):
    """Whether words stand on the page."""
    return words in str(page.evaluate(SHOWN))


def submit_by_the_page(page):
    """Press Try at `POST /v1/jobs`, whose example is a job; gives the status of the answer."""
    page.evaluate("location.hash = 'post-/v1/jobs'")
    button, status = element("[part~=btn-try]"), element(".response-message")
    until(lambda: page.evaluate(f"{button} !== null"), seconds=60)
    page.evaluate(f"void {button}.click()")
    until(lambda: page.evaluate(f"/[0-9]{{3}}/.test({status}?.textContent ?? '')"), seconds=60)
    return str(page.evaluate(f"{status}.textContent"))


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_needs_nothing_but_its_service(page, any_api, tmp_path, width):
    """Everything it loads comes from there; it fits narrow and wide screens."""
    page.screenshot(tmp_path / "before.png", width=width, scheme="dark")
    if any_api.settings.api_key is not None:
        log_in(page, any_api)
    page.open(address(any_api, "/docs"))
    until(lambda: shows(page, "Submit a job"), seconds=60)
    asked = [one["params"] for one in page.events if one["method"] == "Network.requestWillBeSent"]
    hosts = {urlsplit(one["request"]["url"]).netloc for one in asked}
    assert hosts == {f"127.0.0.1:{any_api.client.base_url.port}"}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_who_is_logged_in_can_try_a_change(page, api):
    """The page sends the session's token with it."""
    log_in(page, api, "/docs")
    assert page.path() == "/docs"
    assert "202" in submit_by_the_page(page)


def test_a_key_typed_in_is_the_one_that_counts(page, api):
    """A wrong one is refused, whatever the session; the right one is let in."""
    log_in(page, api, "/docs")
    field = element(".http.api-key-input")
    for key, status in (("not the key", "401"), (KEY, "202")):
        page.evaluate("location.hash = 'auth'")
        until(lambda: page.evaluate(f"{field} !== null"), seconds=60)
        page.evaluate(
            f"(input => {{ input.value = {json.dumps(key)}; input.nextElementSibling.click(); }})"
            f"({field})"
        )
        assert status in submit_by_the_page(page)
