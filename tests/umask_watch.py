"""A watch on the umask of the tests' process: whoever leaves another is named, and it is put back.

Files of later tests would be closed to others whatever the code does, and a test of their modes
could not fail.
"""

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest


def umask_of_this_process() -> int:
    """Read without setting it for a moment, which other threads would see."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"^Umask:\s+(\d+)$", status, re.MULTILINE)[0], 8)


class UmaskWatch:
    """Fails the file whose import, or the test whose run, has changed the umask."""

    def __init__(self) -> None:
        """It is to stay as it is now."""
        self._wanted = umask_of_this_process()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Look after the import of each file."""
        report = yield
        if left := self._left():
            report.outcome, report.longrepr = "failed", left
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """Look after each test and the fixtures that end with it."""
        yield
        if left := self._left():
            pytest.fail(left, pytrace=False)

    def _left(self) -> str | None:
        """What was left, in words; None where nothing was."""
        found = umask_of_this_process()
        if found == self._wanted:
            return None
        os.umask(self._wanted)
        return f"wanted the umask {self._wanted:03o} to be left as it was; got {found:03o}"
