"""What a validator has found wrong, in our words: what was wanted, what was got, what was meant.

Nothing of the validator shows: no name of a class, no code or phrase of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.shared.errors import FieldProblem
from app.submission.pointers import brief, json_pointer
from app.submission.schema_places import (
    Path,
    Place,
    fields_below,
    members_by_word,
    place_of,
    tag_words,
    words_at,
)
from app.submission.suggestions import OTHER_NAMES, did_you_mean, nearest
from ddcal_core.specs.fields import FORMS

UNKNOWN_VALUE, WRONG_TYPE = "unknown_value", "wrong_type"
NEEDED = "this field is needed"

# What a validator's code says was wanted, and our word for it.
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dataclass_type": "an object",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "in the list"),
    "too_long": ("max_length", "at most", "in the list"),
    "string_too_short": ("min_length", "at least", "characters"),
    "string_too_long": ("max_length", "at most", "characters"),
}


def problems_of(
    error: ValidationError, model: type[BaseModel], path: Path, *, at_most: int | None = None
) -> list[FieldProblem]:
    """All that a validator has found wrong with a document, in our words, each place once.

    Args:
        error: what it raised.
        model: what the document had to be.
        path: where in the body the document stands.
        at_most: how many of the validator's errors are told; None: all.
    """
    details = error.errors(include_url=False, include_context=True)[:at_most]
    found = [problem for one in details for problem in _field_problems(one, model, path)]
    return list({one.pointer: one for one in reversed(found)}.values())[::-1]


def parameter_problem(error: ErrorDetails, known: Iterable[str]) -> FieldProblem:
    """A validator's error about a parameter of an address.

    Args:
        error: whose place is, for example, ("query", "page_size").
        known: the names of parameters that this address has.
    """
    if error["type"] == "extra_forbidden":
        return unknown_name(error["loc"], known)
    if error["type"] == "missing":
        return FieldProblem(json_pointer(error["loc"]), "missing_field", NEEDED)
    code, detail = _told(error, (), ())
    return FieldProblem(json_pointer(error["loc"]), code, detail)


def unknown_name(path: Path, known: Iterable[str]) -> FieldProblem:
    """The problem of a name that none of the names known at its place is."""
    name, names = str(path[-1]), list(known)
    ours = [one for one in OTHER_NAMES.get(name, ()) if one in names]
    meant = f'; did you mean "{ours[0]}"?' if ours else did_you_mean(name, names)
    detail = f"there is no field of this name{meant}"
    return FieldProblem(json_pointer(path), "unknown_field", detail)


def _expected_words(error: ErrorDetails) -> tuple[str, ...]:
    """The words that a validator would have taken in place of one it does not know."""
    return tuple(re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", ""))))


def _field_problems(error: ErrorDetails, model: type[BaseModel], path: Path) -> list[FieldProblem]:
    place = place_of(model, error["loc"])
    whole = (*path, *place.path)
    match error["type"]:
        case "missing":
            return [FieldProblem(json_pointer(whole), "missing_field", NEEDED)]
        case "extra_forbidden":
            detail = f"there is no field of this name{_meant_by_name(model, place, path)}"
            return [FieldProblem(json_pointer(whole), "unknown_field", detail)]
        case "union_tag_not_found" | "union_tag_invalid":
            return _tag_problems(error, place, whole)
        case _:
            code, detail = _told(error, place.members, words_at(model, place.path))
            return [FieldProblem(json_pointer(whole), code, detail)]


def _told(error: ErrorDetails, members: Sequence[object], words: Sequence[str]) -> tuple[str, str]:
    """Our code, and what was wanted and got; `members` and `words` may stand at the place."""
    code, context, got = error["type"], error.get("ctx", {}), f"got {brief(error['input'])}"
    if code == "literal_error":
        known = _expected_words(error)
        meant = did_you_mean(error["input"], known)
        return UNKNOWN_VALUE, f"wanted {_one_of(known)}, {got}{meant}"
    if code in _TYPES:
        meant = did_you_mean(error["input"], words) or _meant_by_word(error["input"], members)
        wanted = " or ".join((_TYPES[code], *(f'"{word}"' for word in words)))
        return WRONG_TYPE, f"wanted {wanted}, {got}{meant}"
    if code in _BOUNDS:
        name, than = _BOUNDS[code]
        bound = float(context[name])
        shown = int(bound) if bound.is_integer() else bound
        return "out_of_range", f"wanted {than} {shown}, {got}"
    if code in _LENGTHS:
        name, than, what = _LENGTHS[code]
        return "wrong_length", f"wanted {than} {context[name]} {what}, {got}"
    if code == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return "wrong_form", f"wanted {FORMS.get(pattern, f'text like {pattern}')}, {got}"
    if code == "value_error":
        detail = str(context["error"])
        return "invalid_value", detail if "got " in detail else f"{detail}, {got}"
    return "invalid_value", f"wanted another value, {got}"


def _tag_problems(error: ErrorDetails, place: Place, whole: Path) -> list[FieldProblem]:
    """A union's object that does not say, in a word that is known, which member it is.

    Its other fields are looked at as those of the member that was probably meant; where none was,
    by their names alone.
    """
    field, node = str(error.get("ctx", {}).get("discriminator", "")).strip("'"), error["input"]
    pointer, known = json_pointer((*whole, field)), tag_words(place.members, field)
    if error["type"] == "union_tag_not_found":
        told = FieldProblem(pointer, "missing_field", f"wanted {_one_of(known)}, got none")
        return [told, *_strangers(node, place.members, whole)]
    meant = nearest(node.get(field), known)
    detail = f"wanted {_one_of(known)}, got {brief(node.get(field))}"
    if meant is None:
        told = FieldProblem(pointer, UNKNOWN_VALUE, detail)
        return [told, *_strangers(node, place.members, whole)]
    told = FieldProblem(pointer, UNKNOWN_VALUE, f'{detail}; did you mean "{meant}"?')
    member = members_by_word(place.members, field)[meant]
    try:
        member.model_validate({**node, field: meant})
    except ValidationError as further:
        return [told, *problems_of(further, member, whole)]
    return [told]


def _strangers(
    node: Mapping[str, Any], members: Sequence[object], whole: Path
) -> list[FieldProblem]:
    """Names in an object that no member of the union it belongs to has."""
    known = {name for one in members for name in getattr(one, "model_fields", ())}
    return [unknown_name((*whole, name), sorted(known)) for name in node if name not in known]


def _one_of(words: Sequence[str]) -> str:
    listed = ", ".join(f'"{word}"' for word in words)
    return listed if len(words) == 1 else f"one of {listed}"


def _meant_by_word(value: object, members: Sequence[object]) -> str:
    """A word given in place of the object that it tells apart: "ts" for {"method": "ts"}."""
    for field in ("method", "source", "name"):
        word = nearest(value, tag_words(members, field))
        if word is not None:
            return f'; did you mean {{"{field}": "{word}"}}?'
    return ""


def _meant_by_name(model: type[BaseModel], place: Place, path: Path) -> str:
    """The field that an unknown name stands for: of the same object, else of another one."""
    *above, last = place.path
    name, holder = str(last), place.holder or model
    words = (*OTHER_NAMES.get(name.lower(), ()), name)
    for word in words[:-1]:
        first, _, rest = word.partition(".")
        if first in holder.model_fields:
            return f'; did you mean "{first}"?' if not rest else _at((*path, *above, first, rest))
    near = nearest(name, holder.model_fields, cutoff=0.7)
    if near is not None:
        return f'; did you mean "{near}"?'
    for root, start in ((holder, (*path, *above)), (model, path)):
        fields = _paths_by_name(root)
        known = next((word for word in words if word in fields), None)
        found = known or nearest(name, fields, cutoff=0.8)
        if found is not None:
            return _at((*start, *fields[found]))
    return ""


@cache
def _paths_by_name(model: type[BaseModel]) -> dict[str, Path]:
    """The nearest field of each name, and of each OBJECT.FIELD, below a model."""
    found: dict[str, Path] = {}
    for name, place in fields_below(model):
        found.setdefault(name, place)
        found.setdefault(".".join(map(str, place[-2:])), place)
    return found


def _at(path: Path) -> str:
    return f"; did you mean {json_pointer(path)}?"
