"""Schemas of the API's document as Markdown: what a request may hold."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_REFERENCE = "#/components/schemas/"
_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxLength": "at most {} characters",
}


def schema_section(name: str, schema: Schema) -> str:
    """Give a heading with a list of a schema's fields.

    Args:
        name: of the schema, which links of others lead to.
        schema: an object's, with its properties.
    """
    lines = [f"## {name}", "", cell(schema.get("description", "")), ""]
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    lines += [_field(field, said, field in required) for field, said in properties.items()]
    return "\n".join([*lines, ""])


def _field(name: str, schema: Schema, is_required: bool) -> str:
    # A list, as a table of four columns is too wide for a telephone.
    default = "required" if is_required else _default(schema)
    facts = ", ".join(filter(None, [type_words(schema), default]))
    return f"- `{name}`: {facts}.  \n  {cell(schema.get('description', ''))}"


def _default(schema: Schema) -> str:
    if "default" not in schema or schema["default"] is None:
        return ""
    default = schema["default"]
    return f"default `{json.dumps(default, ensure_ascii=False)}`"


def cell(text: str) -> str:
    """Give text as a cell of a table holds it."""
    return " ".join(text.split()).replace("|", "\\|")


def type_words(schema: Schema) -> str:
    """Say a schema's type with its bounds; objects are links to their own section."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(type_words, schema[several])))
    kind = schema.get("type", "anything")
    bounds = [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    if kind == "array":
        kind = f"list of {type_words(schema.get('items', {}))}"
    return ", ".join([kind, *bounds])


def reachable(names: list[str], schemas: Mapping[str, Schema]) -> list[str]:
    """Give schemas and all that their fields refer to, each once, in the order they are met."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _references(schemas[name])
    return list(found)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(_REFERENCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)
