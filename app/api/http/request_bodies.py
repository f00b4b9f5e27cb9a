"""JSON bodies, read strictly: what other readers let pass or trip over is refused here in words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.shared.errors import (
    FieldProblem,
    InvalidRequestError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedTypeError,
)
from app.submission.field_problems import problems_of
from app.submission.pointers import brief, json_pointer

MAX_BODY_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_PROBLEMS = 20

ModelT = TypeVar("ModelT", bound=BaseModel)


async def json_bytes(request: Request) -> bytes:
    """The body of a request that has to be JSON.

    Raises:
        UnsupportedTypeError: it is declared as something else.
        TooLargeError: more than `MAX_BODY_BYTES`, declared or sent.
    """
    require_media_type(request, ("application/json",))
    require_declared_length(request, MAX_BODY_BYTES)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large(MAX_BODY_BYTES)
    return bytes(body)


def require_media_type(request: Request, wanted: tuple[str, ...]) -> None:
    """Refuse a body that is not declared as one of the wanted types, or that is compressed."""
    got = request.headers.get("content-type", "")
    media_type = got.partition(";")[0].strip().lower()
    if media_type not in wanted:
        raise UnsupportedTypeError(
            "unsupported_type",
            f"Content-Type has to be {' or '.join(wanted)}, got {brief(got) if got else 'none'}",
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedTypeError(
            "unsupported_encoding", f"send the body uncompressed, got {brief(encoding)}"
        )


def require_declared_length(request: Request, limit: int) -> None:
    """Refuse by Content-Length, before a byte of the body is read."""
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()):
        raise MalformedRequestError("malformed_length", "Content-Length has to be a number")
    # Cut: int() refuses more than 4300 digits, and 30 are too many bytes already.
    if int(declared[:30]) > limit:
        raise _too_large(limit)


def read_json(body: bytes) -> object:
    """Parse a JSON document in which nothing is ambiguous; raises what `read_ambiguous` does.

    Raises:
        InvalidRequestError: for what `read_ambiguous` finds.
    """
    document, problems = read_ambiguous(body)
    if problems:
        raise invalid(problems)
    return document


def read_ambiguous(body: bytes) -> tuple[object, list[FieldProblem]]:
    """Parse a JSON document, with what in it is ambiguous or cannot be stored.

    Returns:
        The document; and a problem each, with its pointer, for names given twice, numbers that are
        not finite, strings that cannot be stored (NUL, halves of surrogate pairs).

    Raises:
        MalformedRequestError: not UTF-8, not JSON, nested deeper than `MAX_DEPTH`.
    """
    try:
        # Decoded here: json would take UTF-16 and UTF-32 as well. Windows may write a BOM before.
        tree = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_Members)
    except UnicodeDecodeError as error:
        raise _malformed(f"the body is not UTF-8: byte {error.start} cannot be read") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise _malformed(f"the body is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise _malformed(f"the body is nested deeper than {MAX_DEPTH}") from None
    # What is left is int()'s refusal of more than 4300 digits.
    except ValueError:
        raise _malformed("the body has a number with too many digits") from None
    problems: list[FieldProblem] = []
    return _plain(tree, (), problems), problems


def validated(model: type[ModelT], document: object, path: tuple[str, ...] = ()) -> ModelT:
    """A document as the model it has to be.

    Args:
        model: what it has to be.
        document: as `read_json` gives it.
        path: where in the body the document stands.

    Raises:
        InvalidRequestError: one problem a field, with what was wanted and what was got.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(problems_of(error, model, path)) from None


@dataclass(frozen=True)
class _Members:
    """A JSON object as it was written, names given twice included."""

    pairs: list[tuple[str, object]]


def _plain(node: object, path: tuple[str | int, ...], problems: list[FieldProblem]) -> object:
    if len(path) > MAX_DEPTH:
        raise _malformed(f"the body is nested deeper than {MAX_DEPTH}")
    match node:
        case _Members():
            return _plain_object(node, path, problems)
        case list():
            return [_plain(item, (*path, k), problems) for k, item in enumerate(node)]
        case str() if not _is_storable(node):
            problems.append(_unstorable(path))
        # json reads NaN and Infinity, which JSON does not have, and 1e999 as infinity.
        case float() if not isfinite(node):
            detail = f"wanted a finite number, got {node}"
            problems.append(FieldProblem(json_pointer(path), "not_finite", detail))
    return node


def _plain_object(
    node: _Members, path: tuple[str | int, ...], problems: list[FieldProblem]
) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in node.pairs:
        if not _is_storable(name):
            problems.append(_unstorable(path))
            continue
        if name in members:
            detail = f"wanted the name {brief(name)} once, got it again"
            problems.append(FieldProblem(json_pointer((*path, name)), "duplicate_name", detail))
        members[name] = _plain(value, (*path, name), problems)
    return members


def _is_storable(text: str) -> bool:
    # PostgreSQL stores no NUL, and UTF-8 has no halves of surrogate pairs.
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _unstorable(path: tuple[str | int, ...]) -> FieldProblem:
    detail = "wanted text, got a NUL character or half of a surrogate pair in it"
    return FieldProblem(json_pointer(path), "unstorable_text", detail)


def invalid(problems: Sequence[FieldProblem]) -> InvalidRequestError:
    """The refusal of a body for all that is wrong with it, of which the first are shown."""
    shown = problems[:MAX_PROBLEMS]
    first = shown[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    place = first.pointer or "the body"
    return InvalidRequestError("invalid_request", f"{place}: {first.detail}{more}", shown)


def _malformed(detail: str) -> MalformedRequestError:
    return MalformedRequestError("malformed_json", detail)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError("too_large", f"the body may have at most {limit} bytes, got more")
