import json
import logging
import sys
import threading

import pytest

from app.shared.json_logs import JsonLines, belonging_to, for_people


@pytest.fixture
def lines(caplog):
    """What a logger writes, each line parsed."""
    written = []

    class Keep(logging.Handler):
        def emit(self, record):
            written.append(self.format(record))

    handler = Keep()
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("tests.json_logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)


def test_a_line_says_when_who_and_what(lines):
    """Four keys, in one line whatever the message holds, and what was said besides."""
    log = logging.getLogger("tests.json_logs")
    log.warning("two\nlines of %s", "\x1b[31mü", extra={"seconds": 1.5})
    (text,) = lines
    assert "\n" not in text
    assert "\x1b" not in text
    line = json.loads(text)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "tests.json_logs",
        "message": "two\nlines of \x1b[31mü",
        "seconds": 1.5,
    }


def test_lines_say_what_they_belong_to(lines):
    """Inside the block and below it, not after it, and not in another thread."""
    log = logging.getLogger("tests.json_logs")
    with belonging_to(request_id="r", job_id=None):
        with belonging_to(job_id="j", attempt=2):
            log.info("deep")
        log.info("less deep")
        other = threading.Thread(target=log.info, args=("elsewhere",))
        other.start()
        other.join()
    log.info("after")
    known = [
        {name: value for name, value in json.loads(text).items() if name[0] in "raj"}
        for text in lines
    ]
    for one in known:
        one.pop("at")
    assert known == [{"request_id": "r", "job_id": "j", "attempt": 2}, {"request_id": "r"}, {}, {}]


def test_an_exception_comes_with_its_traceback_in_one_line(lines):
    """And is shown to people below the message."""
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("tests.json_logs").error("failed", exc_info=sys.exc_info())
    (text,) = lines
    assert "\n" not in text
    assert json.loads(text)["exception"].endswith("ValueError: broken")
    first, second, *_ = for_people(text).splitlines()
    assert first.endswith(" error: failed")
    assert second.startswith("Traceback")


@pytest.mark.parametrize("line", ["plain words", "{}", "[1]", "{", '{"at": 1}', "3"])
def test_what_is_no_such_line_stays_as_it_is(line):
    """Programs that are not ours write into the same files."""
    assert for_people(line) == line
