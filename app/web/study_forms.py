"""What the forms for studies say as requests: lists of what varies, and the named studies."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.shared.errors import FieldProblem
from app.web.request_fields import Choice, FormField
from app.web.request_forms import (
    Given,
    document_of,
    field_value,
    form_problems,
    lines_of,
    number_or_text,
    pipeline_fields,
    problems_by_field,
    repeated,
    typed,
)

VARY = "vary"
NAMED = "named"
_RANGE = re.compile(r"(\S+) to (\S+)(?: by (\S+))?")


def _varied(path: str, example: str) -> FormField:
    return FormField(path=(VARY, path), kind="text", default=example)


VARIED: Mapping[str, tuple[FormField, str, str]] = {
    one[0].name: one
    for one in (
        (
            _varied("distill.mask.ratio", "0, 0.1, 0.3, 0.5"),
            "Mask ratios (MDT)",
            "Shares of pixels masked while images are distilled.",
        ),
        (
            _varied("distill.images_per_class", "1, 10, 50"),
            "Images per class",
            "Sizes of the distilled set.",
        ),
        (
            _varied("seed", "0 to 7 by 1"),
            "Seeds",
            "Each is a set and networks of its own; with eight or more, rules can decide.",
        ),
        (_varied("dataset", "digits, mnist"), "Data sets", "The same question of other images."),
        (_varied("distill.method", "dm, dc, dsa"), "Methods", "Ways to distil, side by side."),
        (_varied("train.network", "convnet, resnet18"), "Networks", "What is trained on the sets."),
        (_varied("train.epochs", "100, 300"), "Epochs", "How long networks are trained."),
    )
}
"""What people vary most, by the name of its field: the field, its label and its help."""
OTHER = FormField(path=(VARY, "other"), kind="pairs")
COMBINE = FormField(
    path=("combine",),
    kind="choice",
    default="crossed",
    choices=(
        Choice(value="crossed", label="crossed: every combination"),
        Choice(value="zipped", label="zipped: the first of each, then the second"),
    ),
)
OF_NAMED = ("dataset", "preset", "published_for", "seeds")
_PATH_OF_VARY = re.compile("/params/vary/([^/]+)")


def study_document(given: Given) -> dict[str, Any]:
    """A study of what varies; the pipeline it varies is as the form for one has it."""
    one = document_of(given)
    params: dict[str, Any] = {"base": one.pop("params"), "vary": _vary(given)}
    combine = typed(given, COMBINE.name)
    if combine:
        params["combine"] = combine
    return {**one, "kind": "study", "params": params}


def study_form_problems(given: Given) -> list[FieldProblem]:
    """What is wrong with the form for a study that its request does not show."""
    paths = (path for path, _ in _told(given))
    return [*form_problems(given), *repeated(paths, ("params", VARY))]


def named_document(given: Given) -> dict[str, Any]:
    """A named study on a data set."""
    said = {name: typed(given, f"{NAMED}.{name}") for name in OF_NAMED}
    params: dict[str, Any] = {NAMED: typed(given, f"{NAMED}.{NAMED}")}
    params |= {name: text for name, text in said.items() if text}
    if "seeds" in params:
        params["seeds"] = number_or_text(params["seeds"])
    name = typed(given, f"{NAMED}.name")
    return {"kind": "study", **({"name": name} if name else {}), "params": params}


def study_problems(
    problems: Sequence[FieldProblem],
) -> tuple[dict[str, str], list[FieldProblem]]:
    """What is wrong, by the name of the field of the form for studies; and what is of no field."""
    by_field: dict[str, str] = {}
    of_base = []
    for one in problems:
        varied = _PATH_OF_VARY.match(one.pointer)
        if varied:
            name = f"{VARY}.{varied[1]}"
            by_field[name if name in VARIED else OTHER.name] = one.detail
        else:
            pointer = one.pointer.replace("/params/base", "/params", 1)
            of_base.append(FieldProblem(pointer, one.code, one.detail))
    found, others = problems_by_field(of_base)
    return {**found, **by_field}, others


def named_problems(
    problems: Sequence[FieldProblem],
) -> tuple[dict[str, str], list[FieldProblem]]:
    """The same of the form for named studies."""
    fields = {f"/params/{name}": f"{NAMED}.{name}" for name in (NAMED, *OF_NAMED)}
    fields["/name"] = f"{NAMED}.name"
    found = {fields[one.pointer]: one.detail for one in problems if one.pointer in fields}
    return found, [one for one in problems if one.pointer not in fields]


def _vary(given: Given) -> dict[str, Any]:
    return {path: _values(path, text) for path, text in _told(given)}


def _told(given: Given) -> list[tuple[str, str]]:
    """Paths with what was typed: of the fields, then of the lines that name a path of their own."""
    told = [(field.path[1], typed(given, name)) for name, (field, _, _) in VARIED.items()]
    return [(path, text) for path, text in told if text] + lines_of(typed(given, OTHER.name))


def _values(path: str, text: str) -> object:
    found = _RANGE.fullmatch(text)
    if found is None:
        pieces = [piece.strip() for piece in text.split(",")]
        return [_value(path, piece) for piece in pieces if piece]
    start, stop, step = found[1], found[2], found[3] or "1"
    ends = {"start": start, "stop": stop, "step": step}
    return {name: number_or_text(one) for name, one in ends.items()}


def _value(path: str, text: str) -> object:
    """A value as the field of its path has it: the name of a data set may look like a number."""
    field = next(
        (one for one in pipeline_fields() if one.path == ("params", *path.split("."))), None
    )
    if field is None or field.kind not in ("text", "choice", "flag"):
        return number_or_text(text)
    return field_value(field, text)
