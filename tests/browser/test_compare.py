"""From the list of reports to a comparison, in a real browser and by the keyboard's means alone."""

import pytest

from tests.api.test_results import REPORT_FILES, made_chain
from tests.browser.chromium import new_page
from tests.browser.test_login import address, devtools, log_in, served

__all__ = ["devtools"]  # a fixture, asked for by name
KEY = "a-key-of-some-length"


@pytest.mark.parametrize("key", [KEY, None], ids=["key", "no-key"])
@pytest.mark.parametrize("has_script", [True, False], ids=["script", "no-script"])
def test_marked_reports_are_compared(devtools, migrated_sqlite, tmp_path, key, has_script):
    """Two are marked, chosen and compared, with a script or without, logged in or keyless."""
    with served(migrated_sqlite, tmp_path, key) as api, new_page(devtools) as tab:
        if key is not None:
            api.client.headers["Authorization"] = f"Bearer {key}"
        reports = [made_chain(api, REPORT_FILES)["reports"] for _ in range(2)]
        if key is not None:
            log_in(tab, api)
        tab.open(address(api, "/results"))
        for report in reports:
            tab.evaluate(f"document.querySelector('input[value=\"{report}\"]').click()")
        tab.call("Emulation.setScriptExecutionDisabled", value=not has_script)
        tab.press("form[action='/compare'] button")
        assert "Chosen: 2" in tab.text()
        tab.press("form[method='post'][action='/compare'] button")
        assert tab.path().startswith("/compare/job_")
        assert "being compared" in tab.text()
        job = api.job(tab.path().rpartition("/")[2])
        assert {one["report"] for one in job["params"]["reports"]} == set(reports)
