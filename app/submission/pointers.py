"""Where in a request something stands, and a few words of what stood there."""

import json
from collections.abc import Iterable

MAX_SHOWN = 40


def json_pointer(path: Iterable[str | int]) -> str:
    """A path of names and indices as a JSON pointer (RFC 6901); the whole document is ""."""
    return "".join(
        "/" + str(part)[:MAX_SHOWN].replace("~", "~0").replace("/", "~1") for part in path
    )


def brief(value: object) -> str:
    """What was got, short enough that no message repeats a request: 1.5, "digit", a list of 3."""
    match value:
        case str() if len(value) > MAX_SHOWN:
            return f"{json.dumps(value[:MAX_SHOWN])}... ({len(value)} characters)"
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case None | bool() | str():
            return json.dumps(value)
        case int() if abs(value) >= 10**MAX_SHOWN:
            return "a number too large to show"
        case int() | float():
            return repr(value)
        case _:
            return f"a {type(value).__name__}"
