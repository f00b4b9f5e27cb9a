"""JSON bodies, read strictly: what other readers let pass or trip over is refused here in words."""

import json
from dataclasses import dataclass
from math import isfinite
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from app.api.http.pointers import brief, json_pointer, wanted_and_got
from app.shared.errors import (
    FieldProblem,
    InvalidRequestError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedTypeError,
)
from app.submission.requests import UNION_TAGS
from ddcal_core.specs.distillation import DEFAULT_METHOD
from ddcal_core.specs.fields import CLASS_TAGS

MAX_BODY_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_PROBLEMS = 20
DISCRIMINATORS = ("method", "source", "name")
# Of MaskedTemperatureScaling.mask, and of each of `classes`.
SHAPE_TAGS = frozenset({"ratio given", "ratio auto"}) | CLASS_TAGS

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
    """Parse a JSON document in which nothing is ambiguous.

    Raises:
        MalformedRequestError: not UTF-8, not JSON, nested deeper than `MAX_DEPTH`.
        InvalidRequestError: names given twice, numbers that are not finite, strings that cannot
            be stored (NUL, halves of surrogate pairs); each with its pointer.
    """
    try:
        # Decoded here: json would take UTF-16 and UTF-32 as well.
        tree = json.loads(body.decode("utf-8"), object_pairs_hook=_Members)
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
    document = _plain(tree, (), problems)
    if problems:
        raise _invalid(problems)
    return document


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
        details = error.errors(include_url=False, include_context=True)
        raise _invalid([_field_problem(one, document, path) for one in details]) from None


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


def _field_problem(error: ErrorDetails, document: object, path: tuple[str, ...]) -> FieldProblem:
    location = _without_union_tags(error["loc"], document)
    match error["type"]:
        case "missing":
            return FieldProblem(json_pointer(path + location), "missing", "this field is needed")
        case "extra_forbidden":
            detail = "there is no field of this name"
            return FieldProblem(json_pointer(path + location), "unknown_field", detail)
        case "union_tag_not_found" | "union_tag_invalid" as code:
            context = error.get("ctx", {})
            field = str(context.get("discriminator", "")).strip("'")
            got = brief(error["input"].get(field)) if code == "union_tag_invalid" else "none"
            wanted = context.get("expected_tags", "the field that says which kind it is")
            detail = f"wanted one of {wanted}, got {got}"
            return FieldProblem(json_pointer((*path, *location, field)), code, detail)
        case "value_error":
            detail = error["msg"].removeprefix("Value error, ")
            return FieldProblem(json_pointer(path + location), "invalid_value", detail)
        case code:
            detail = wanted_and_got(error["msg"], error["input"])
            return FieldProblem(json_pointer(path + location), code, detail)


def _without_union_tags(location: tuple[str | int, ...], document: object) -> tuple[str | int, ...]:
    """Drop from a pydantic location the names of union members, which the body does not have."""
    kept: list[str | int] = []
    node = document
    for index, part in enumerate(location):
        is_last = index == len(location) - 1
        is_shape = (index == 1 and part in UNION_TAGS) or part in SHAPE_TAGS
        is_own_name = is_last and isinstance(node, dict) and part in node
        if is_shape or (isinstance(node, dict) and part in _tags_of(node) and not is_own_name):
            continue
        kept.append(part)
        node = _child(node, part)
    return tuple(kept)


def _tags_of(node: dict[str, object]) -> list[object]:
    tags = [node.get(name) for name in DISCRIMINATORS]
    return tags if "method" in node else [*tags, DEFAULT_METHOD]


def _child(node: object, part: str | int) -> object:
    if isinstance(node, dict):
        return node.get(part)
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _invalid(problems: list[FieldProblem]) -> InvalidRequestError:
    shown = problems[:MAX_PROBLEMS]
    first = shown[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    place = first.pointer or "the body"
    return InvalidRequestError("invalid_request", f"{place}: {first.detail}{more}", shown)


def _malformed(detail: str) -> MalformedRequestError:
    return MalformedRequestError("malformed_json", detail)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError("too_large", f"the body may have at most {limit} bytes, got more")
