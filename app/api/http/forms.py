"""Bodies of HTML forms (application/x-www-form-urlencoded): small, and text alone."""

from urllib.parse import parse_qsl

from starlette.types import Message, Receive

from app.shared.errors import MalformedRequestError, TooLargeError

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FORM_BYTES = 64_000
_MAX_FIELDS = 400


async def form_body(receive: Receive) -> bytes:
    """The body of a form.

    Raises:
        TooLargeError: more than `MAX_FORM_BYTES`.
        MalformedRequestError: the client went away before its end.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequestError("client_gone", "the form ended early")
        body += message.get("body", b"")
        if len(body) > MAX_FORM_BYTES:
            limit = f"a form may have at most {MAX_FORM_BYTES} bytes, got more"
            raise TooLargeError("too_large", limit)
        if not message.get("more_body", False):
            return bytes(body)


def form_fields(body: bytes) -> dict[str, str]:
    """A form's fields by name; the first of those given twice.

    Raises:
        MalformedRequestError: it cannot be read as a form.
    """
    return {name: values[0] for name, values in form_lists(body).items()}


def form_lists(body: bytes) -> dict[str, list[str]]:
    """A form's fields by name, each with all that is given: several boxes share a name.

    Raises:
        MalformedRequestError: it cannot be read as a form.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise MalformedRequestError("malformed_form", "the form cannot be read") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def read_again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body which was read already, then goes on."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again
