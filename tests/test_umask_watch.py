"""Whoever leaves another umask is named, and it is put back."""

import os
from types import SimpleNamespace

import pytest

from tests.umask_watch import UmaskWatch, umask_of_this_process


def ended(step, sent=None):
    """What a step gives once it goes on."""
    with pytest.raises(StopIteration) as end:
        step.send(sent)
    return end.value.value


def test_a_test_that_leaves_another_umask_fails():
    """It alone: the next has the umask that it would have had."""
    before, watch = umask_of_this_process(), UmaskWatch()
    running = watch.pytest_runtest_teardown()
    next(running)
    os.umask(before ^ 0o055)
    with pytest.raises(pytest.fail.Exception, match=f"got {before ^ 0o055:03o}"):
        next(running)
    assert umask_of_this_process() == before
    following = watch.pytest_runtest_teardown()
    next(following)
    ended(following)


def test_an_import_that_leaves_another_umask_fails():
    """The file is not collected."""
    before, watch = umask_of_this_process(), UmaskWatch()
    collecting = watch.pytest_make_collect_report()
    next(collecting)
    os.umask(before ^ 0o055)
    report = ended(collecting, SimpleNamespace(outcome="passed", longrepr=None))
    assert report.outcome == "failed"
    assert f"got {before ^ 0o055:03o}" in report.longrepr
    assert umask_of_this_process() == before
