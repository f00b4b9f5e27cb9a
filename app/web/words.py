"""Numbers and times as pages show them: the filters of their templates."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from markupsafe import Markup, escape

_JOB_ID = re.compile(r"\b(job_[0-9a-z]{26})\b")
_CODE = re.compile("`([^`]*)`")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in percent; a dash for none."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that say something; a dash for none."""
    if seconds is None:
        return "–"
    whole = max(round(seconds), 0)
    for n, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            rest = _UNITS[n + 1 :]
            below = f" {whole % size // rest[0][0]} {rest[0][1]}" if rest else ""
            return f"{whole // size} {unit}{below}"
    return f"{whole} s"


def ago(time: datetime, now: datetime | None = None) -> str:
    """How long ago something was, in its largest unit."""
    seconds = max(int(((now or datetime.now(UTC)) - time).total_seconds()), 0)
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds // size} {unit} ago"


def utc(time: datetime) -> str:
    """A time for who reads without a script: to the minute, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def n_bytes(count: int) -> str:
    """A size in the unit that suits it."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{size:.3g} {unit}"


def marked(text: str) -> Markup:
    """Text whose words in backticks are code, as descriptions of the API have them."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def words(name: str) -> str:
    """A name of the API as people write it."""
    return name.replace("_", " ")


def linked(text: str) -> Markup:
    """A text, escaped, in which ids of jobs lead to their pages."""
    link = Markup('<a href="/jobs/{0}">{0}</a>')
    # Split by what is in parentheses: every second piece is an id.
    pieces = _JOB_ID.split(text)
    return Markup("").join(link.format(one) if n % 2 else one for n, one in enumerate(pieces))


def readable(value: object) -> str:
    """A JSON value for people to read."""
    return json.dumps(value, indent=1, ensure_ascii=False)


FILTERS: Mapping[str, Callable[..., str]] = {
    "percent": percent,
    "duration": duration,
    "ago": ago,
    "utc": utc,
    "n_bytes": n_bytes,
    "words": words,
    "linked": linked,
    "readable": readable,
    "marked": marked,
}
