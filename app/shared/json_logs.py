"""Logs as one JSON object a line, with what is known of where each line belongs.

Keys: at, level, logger, message; where known request_id, job_id, attempt, fence, worker; what a
line says besides; exception with its traceback.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_belongs: ContextVar[Mapping[str, object]] = ContextVar("log_belongs", default=_NOTHING)

# What every record has; the rest has been said with `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "data"}


@contextmanager
def belonging_to(**known: object) -> Iterator[None]:
    """Each line logged inside, in this thread or task, says this of itself; None is left out."""
    told = {name: value for name, value in known.items() if value is not None}
    token = _belongs.set({**_belongs.get(), **told})
    try:
        yield
    finally:
        _belongs.reset(token)


class JsonLines(logging.Formatter):
    """A record as one line of JSON, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_belongs.get(),
        }
        for name, value in vars(record).items():
            if name not in _OWN:
                line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json(level: str) -> None:
    """Write whatever this process logs, and warns of, to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def for_people(line: str) -> str:
    """A line of such a log as people read it; any other as it is."""
    try:
        told = json.loads(line)
        text = f"{told['at']} {told['level']}: {told['message']}"
    except (ValueError, TypeError, KeyError):
        return line
    return f"{text}\n{told['exception']}" if "exception" in told else text
