"""What a form says as the request it stands for, and what a request says as a filled form."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from app.api.http.request_bodies import read_json
from app.api.job_submission import read_job_request
from app.shared.errors import FieldProblem, InvalidRequestError
from app.submission.pointers import brief, json_pointer
from app.submission.requests import PipelineRequest
from app.web.request_fields import FormField, Path, fields_of

Given = Mapping[str, Sequence[str]]
"""What was typed or ticked, by the name of its field."""

CALIBRATE: Path = ("params", "calibrate")
MTS_RATIOS = FormField(
    path=(*CALIBRATE, "mts_ratios"),
    kind="list",
    help="Also MTS on the small set with each of these shares of pixels masked, such as 0.3, 0.5.",
    bounds="numbers at least 0 and less than 1",
)
"""The one thing about calibrations, beside which they are, that people change."""
KIND: Mapping[str, Any] = {"kind": "pipeline"}
DATASET = "params.dataset"
_ANY_DATASET = "digits"
# As JSON writes numbers, or without the zero before the point: what Python reads beside these, such
# as 1_0 or 007, may be a name, or was meant otherwise.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*|(?=\.))(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# What decides the defaults of all else.
_DECISIVE: tuple[Path, ...] = (
    ("dataset",),
    *(
        ("distill", name)
        for name in ("method", "preset", "published_for", "preset_version", "images_per_class")
    ),
)


@cache
def pipeline_fields() -> tuple[FormField, ...]:
    """Every field of a pipeline that a form can ask for."""
    asked = [field for field in fields_of(PipelineRequest) if field.kind != "json"]
    return (*asked, MTS_RATIOS)


@cache
def ticked_by_default() -> Given:
    """The boxes that are ticked in a form that nobody has changed."""
    whole = _whole({**KIND, "params": {"dataset": _ANY_DATASET}})
    fields = [field for field in pipeline_fields() if field.kind == "several"]
    return {field.name: _ticked(field, _at(whole, field.path)) for field in fields}


def unchanged_form(dataset: str) -> dict[str, Sequence[str]]:
    """A form that nobody has changed, but for its data set."""
    return {**ticked_by_default(), DATASET: [dataset]}


def document_of(given: Given) -> dict[str, Any]:
    """The request that a form stands for; what is left empty is left out."""
    document: dict[str, Any] = {**KIND, "params": {}}
    for field in pipeline_fields():
        values = given.get(field.name, ())
        if field.kind == "several":
            if set(values) != set(ticked_by_default()[field.name]):
                _put(document, field.path, _items(field, values))
        elif field is MTS_RATIOS:
            _add_ratios(document, values)
        elif any(value.strip() for value in values):
            _put(document, field.path, field_value(field, typed(given, field.name)))
    return document


def form_problems(given: Given) -> list[FieldProblem]:
    """What is wrong with a form that the request it stands for does not show."""
    pairs = [field for field in pipeline_fields() if field.kind == "pairs"]
    return [
        problem
        for field in pairs
        for problem in repeated((key for key, _ in lines_of(typed(given, field.name))), field.path)
    ]


def repeated(keys: Iterable[str], path: Path) -> list[FieldProblem]:
    """Keys that stand there more than once: an object would keep one of their values."""
    return [
        FieldProblem(
            json_pointer((*path, key)),
            "duplicate_name",
            f"wanted {brief(key)} once, got it {count} times",
        )
        for key, count in Counter(keys).items()
        if count > 1
    ]


def form_of(document: Mapping[str, Any]) -> Given | None:
    """A form filled so that it stands for a request; None where no form can say that."""
    try:
        whole = _whole(document)
        usual = _whole({**KIND, "params": _only(whole["params"])})
    except InvalidRequestError:
        return None
    given = {}
    for field in pipeline_fields():
        value = _at(whole, field.path)
        if field.kind == "several":
            given[field.name] = _ticked(field, value)
        elif field is MTS_RATIOS:
            given[field.name] = [", ".join(map(str, _ratios(_at(whole, CALIBRATE))))]
        elif value != _at(usual, field.path) or field.path[1:] in _DECISIVE:
            text = _text(field, value)
            given[field.name] = ["" if text == field.default else text]
    with suppress(InvalidRequestError):
        if _whole(document_of(given)) == whole:
            return given
    return None


def problems_by_field(
    problems: Sequence[FieldProblem],
) -> tuple[dict[str, str], list[FieldProblem]]:
    """What is wrong, by the name of the field it is wrong with; and what is of no field."""
    found: dict[str, str] = {}
    others = []
    by_length = sorted(pipeline_fields(), key=lambda field: -len(field.path))
    for one in problems:
        at = f"{one.pointer}/"
        field = next((it for it in by_length if at.startswith(f"{json_pointer(it.path)}/")), None)
        if field is None:
            others.append(one)
        else:
            found[field.name] = "; ".join(filter(None, (found.get(field.name), one.detail)))
    return found, others


def typed(given: Given, name: str) -> str:
    """What was typed into a field."""
    return (given.get(name) or [""])[0].replace("\r\n", "\n").strip()


def lines_of(text: str) -> list[tuple[str, str]]:
    """Keys and values that were typed with a colon between them, a line each."""
    pairs = (line.partition(":") for line in text.split("\n") if line.strip())
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def listed_values(text: str) -> list[object]:
    """Values that were typed with commas between them."""
    return [number_or_text(one.strip()) for one in text.split(",") if one.strip()]


def number_or_text(text: str) -> object:
    """A number, or what was typed in its place: the check of the request says what it should be."""
    if not _NUMBER.fullmatch(text):
        return text
    # Python refuses to read whole numbers of thousands of digits.
    with suppress(ValueError):
        return int(text)
    number = float(text)
    return number if abs(number) < float("inf") else text


def _whole(document: Mapping[str, Any]) -> dict[str, Any]:
    """A request with every default filled in."""
    asked = read_job_request(read_json(json.dumps(document).encode()))
    return asked.model_dump(mode="json")


def _only(params: Mapping[str, Any]) -> dict[str, Any]:
    """Of a pipeline's params, what decides the defaults of all else."""
    kept: dict[str, Any] = {}
    for path in _DECISIVE:
        value = _at(params, path)
        if value is not None:
            _put(kept, path, value)
    return kept


def _put(document: dict[str, Any], path: Path, value: object) -> None:
    *above, last = path
    node = document
    for name in above:
        # An object takes the place of a word that stands for it.
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    node[last] = value


def _at(document: Mapping[str, Any], path: Path) -> Any:  # noqa: ANN401  JSON
    node: Any = document
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def field_value(field: FormField, text: str) -> object:
    """What was typed into a field, as the request has it."""
    match field.kind:
        case "number":
            return number_or_text(text)
        case "flag":
            return {"true": True, "false": False}.get(text, text)
        case "list":
            return listed_values(text)
        case "pairs":
            return dict(lines_of(text))
        case _:
            return text


def _text(field: FormField, value: Any) -> str:  # noqa: ANN401  JSON
    """A value as it is typed into its field."""
    if value is None or (isinstance(value, dict) and field.kind != "pairs"):
        return ""
    match field.kind:
        case "flag":
            return str(value).lower()
        case "list":
            return ", ".join(map(str, value))
        case "pairs":
            return "\n".join(f"{key}:{one}" for key, one in value.items())
        case _:
            return str(value)


def _items(field: FormField, values: Sequence[str]) -> list[object]:
    """What boxes stand for; of a box that there is not its text, which the check refuses."""
    known = {choice.value for choice in field.choices}
    return [json.loads(value) if value in known else value for value in values]


def _ticked(field: FormField, items: Any) -> list[str]:  # noqa: ANN401  JSON
    """The boxes that stand for the items of a list."""
    held = [_bare(one) for one in items or ()]
    return [
        choice.value
        for choice in field.choices
        if _bare(json.loads(choice.value) if choice.whole is None else choice.whole) in held
    ]


def _bare(item: object) -> object:
    """An item without what says nothing."""
    if not isinstance(item, Mapping):
        return item
    return {name: _bare(value) for name, value in item.items() if value is not None}


def _add_ratios(document: dict[str, Any], values: Sequence[str]) -> None:
    ratios = field_value(MTS_RATIOS, values[0]) if values else []
    if not isinstance(ratios, list) or not ratios:
        return
    usual = [json.loads(one) for one in ticked_by_default()[".".join(CALIBRATE)]]
    known = document["params"].get(CALIBRATE[-1], usual)
    masked = [{"method": "mts", "mask": {"ratio": ratio}} for ratio in ratios]
    document["params"][CALIBRATE[-1]] = [*known, *masked]


def _ratios(items: Any) -> list[float]:  # noqa: ANN401  JSON
    """The ratios of those calibrations that are MTS as `_add_ratios` has it."""
    masks = [one.get("mask") for one in items or () if one.get("method") == "mts"]
    return [mask["ratio"] for mask in masks if isinstance(mask.get("ratio"), int | float)]
