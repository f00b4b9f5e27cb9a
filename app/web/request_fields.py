"""The fields of a form that asks for a job, as the JSON schema of the request has them.

A field that is added to a spec appears in the form by itself, with its description, its bounds and
its default. What a form cannot say is left to JSON, and named so (`kind` "json").
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from app.web.words import words

Path = tuple[str, ...]
Node = Mapping[str, Any]
FieldKind = Literal["number", "text", "time", "choice", "flag", "several", "list", "pairs", "json"]
NETWORK = "network"
"""A network is named by its architecture; all else of it has a default."""
FIT_ON = "fit_on"
"""Calibrations are told apart by it, too: one fitted on other images is another row."""
PARTS = ("distill", "experts", "train", "evaluate")
"""Parts of a request that are asked for together, under a heading of their own."""
_UNSAID = ("params", "name", "what")
_IMAGES = {"validation": "on validation images", "training_set": "on the small set alone"}
_NUMBERS = {"integer": "a whole number", "number": "a number"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several answers.

    Attributes:
        value: that the form sends; of a list, an item of it as JSON.
        label: in words.
        whole: of an item that is an object, all its fields with their defaults.
    """

    value: str
    label: str
    whole: Any = None


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One field of a form.

    Attributes:
        path: in the request.
        kind: how it is asked for; json: not at all.
        help: what it is, as its spec describes it.
        default: what holds where it is left empty; "" where that depends.
        bounds: what its value may be; "" where that depends.
        is_needed: whether it cannot be left empty.
        choices: the answers that there are.
        only_with: the path of another field, and the words there with which this one counts.
    """

    path: Path
    kind: FieldKind
    help: str = ""
    default: str = ""
    bounds: str = ""
    is_needed: bool = False
    choices: tuple[Choice, ...] = ()
    only_with: tuple[Path, tuple[str, ...]] | None = None

    @property
    def name(self) -> str:
        """In the form."""
        return ".".join(self.path)

    @property
    def label(self) -> str:
        """In words, below its part of the request."""
        below = self.path[2:] if self.path[1:2] and self.path[1] in PARTS else self.path
        told = words(" ".join(part for part in below if part not in _UNSAID)) or "name"
        return told[:1].upper() + told[1:]


def fields_of(model: type[BaseModel]) -> tuple[FormField, ...]:
    """Every field of a request, in the order of its schema; the kind of job is no question."""
    schema = model.model_json_schema()
    return tuple(_fields(schema, (), schema["$defs"]))


def _fields(node: Node, path: Path, defs: Node) -> Iterator[FormField]:
    node = _resolved(node, defs)
    if "discriminator" in node:
        yield from _of_union(node, path, defs)
    elif "properties" in node:
        for name, below in node["properties"].items():
            if "const" in below:
                continue
            is_needed = name in node.get("required", ())
            for field in _fields(below, (*path, name), defs):
                yield replace(field, is_needed=is_needed and field.path == (*path, name))
    elif "oneOf" in node:
        yield from _of_word_or_object(node, path, defs)
    elif node.get("type") == "array":
        yield _list(node, path, defs)
    else:
        yield _one(node, path)


def _of_union(node: Node, path: Path, defs: Node) -> Iterator[FormField]:
    """Which member it is, then the fields of all members, each with the members that have it."""
    tag = node["discriminator"]["propertyName"]
    members = _members(node, tag, defs)
    default = (node.get("default") or {}).get(tag, "")
    where = (*path, tag)
    choices = tuple(_member(word, member) for word, member in members.items())
    yield FormField(
        path=where,
        kind="choice",
        help=node.get("description", ""),
        default=default,
        choices=choices,
    )
    found: dict[Path, FormField] = {}
    having: dict[Path, list[str]] = {}
    for word, member in members.items():
        for field in _fields(member, path, defs):
            known = found.setdefault(field.path, field)
            found[field.path] = _alike(known, field)
            having.setdefault(field.path, []).append(word)
    for one, field in found.items():
        is_of_all = len(having[one]) == len(members)
        only = field.only_with or (None if is_of_all else (where, tuple(having[one])))
        yield replace(field, only_with=only)


def _alike(one: FormField, other: FormField) -> FormField:
    """A field of two members, without what they differ in."""
    return replace(
        one,
        default=one.default if one.default == other.default else "",
        bounds=one.bounds if one.bounds == other.bounds else "",
    )


def _of_word_or_object(node: Node, path: Path, defs: Node) -> Iterator[FormField]:
    """A word, or in its place an object, whose fields say that it is meant."""
    forms = [_resolved(one, defs) for one in node["oneOf"]]
    if not all("enum" in one or "properties" in one for one in forms):
        yield FormField(path=path, kind="json", help=node.get("description", ""))
        return
    for one in forms:
        shared = {name: value for name, value in node.items() if name != "oneOf"}
        yield from _fields({**one, **shared} if "enum" in one else one, path, defs)


def _list(node: Node, path: Path, defs: Node) -> FormField:
    items = _resolved(node["items"], defs)
    choices = tuple(_items(items, defs))
    kind: FieldKind = "several" if choices else "json"
    scalars = [_resolved(one, defs) for one in items.get("oneOf", (items,))]
    if not choices and all(one.get("type") in ("integer", "number", "string") for one in scalars):
        kind = "list"
    default = node.get("default")
    return FormField(
        path=path,
        kind=kind,
        help=node.get("description", ""),
        default=", ".join(map(str, default)) if kind == "list" and default else "",
        choices=choices,
    )


def _items(items: Node, defs: Node) -> Iterator[Choice]:
    """What a list can have, as far as a word says it; an object by the one that tells it apart."""
    if "enum" in items:
        yield from (Choice(value=json.dumps(one), label=str(one)) for one in items["enum"])
    elif "discriminator" in items:
        tag = items["discriminator"]["propertyName"]
        for word, member in _members(items, tag, defs).items():
            if set(member.get("required", ())) <= {tag}:
                yield from _of_member(member, {tag: word})
    else:
        for one in items.get("properties", {}).get(NETWORK, {}).get("enum", ()):
            yield from _of_member(items, {NETWORK: one})


def _of_member(member: Node, item: Mapping[str, Any]) -> Iterator[Choice]:
    below = member["properties"]
    defaults = {name: one["default"] for name, one in below.items() if "default" in one}
    (word,) = item.values()
    if FIT_ON not in below:
        yield Choice(value=json.dumps(item), label=words(word), whole={**defaults, **item})
        return
    for one in below[FIT_ON]["enum"]:
        told = {**item, FIT_ON: one}
        label = f"{words(word)} {_IMAGES.get(one, words(one))}"
        yield Choice(value=json.dumps(told), label=label, whole={**defaults, **told})


def _one(node: Node, path: Path) -> FormField:
    """A field with a value of its own."""
    default = node.get("default")
    known = FormField(path=path, kind="json", help=node.get("description", ""))
    match node:
        case {"enum": enum}:
            return replace(known, kind="choice", choices=_words(enum), default=default or "")
        case {"type": "boolean"}:
            said = "" if default is None else str(default).lower()
            return replace(known, kind="flag", choices=_words(("true", "false")), default=said)
        case {"type": "integer" | "number" as kind}:
            said = "" if default is None else f"{default:g}" if default < 1e6 else f"{default}"
            return replace(known, kind="number", bounds=_bounds(node, kind), default=said)
        case {"type": "string", "format": "date-time"}:
            return replace(known, kind="time")
        case {"type": "string"}:
            return replace(known, kind="text", default=default or "")
        case {"patternProperties": _}:
            return replace(known, kind="pairs")
        case _:
            return known


def _member(word: str, member: Node) -> Choice:
    told = member.get("description", "").partition("\n")[0].rstrip(".")
    return Choice(value=word, label=f"{words(word)}: {told}" if told else words(word))


def _words(known: Iterable[object]) -> tuple[Choice, ...]:
    return tuple(Choice(value=str(one), label=words(str(one))) for one in known)


def _bounds(node: Node, kind: str) -> str:
    told = [f"{than} {node[name]:,.15g}" for name, than in _BOUNDS.items() if name in node]
    return " ".join((_NUMBERS[kind], " and ".join(told))).strip()


def _members(union: Node, tag: str, defs: Node) -> dict[str, Node]:
    """The members of a tagged union by their words."""
    resolved = [_resolved(one, defs) for one in union["oneOf"]]
    return {one["properties"][tag]["const"]: one for one in resolved}


def _resolved(node: Node, defs: Node) -> Node:
    """A node itself, in place of a reference to it; null, which says nothing, is left out."""
    if "$ref" in node:
        beside = {name: value for name, value in node.items() if name != "$ref"}
        return {**_resolved(defs[node["$ref"].rpartition("/")[2]], defs), **beside}
    kinds = [one for one in node.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        beside = {name: value for name, value in node.items() if name != "anyOf"}
        return {**_resolved(kinds[0], defs), **beside}
    return node
