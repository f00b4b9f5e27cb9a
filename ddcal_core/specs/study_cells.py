"""The cells of a study: every combination of what varies, each the params of a pipeline."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddcal_core.specs.decision_rules import SettingChoice, SettingValue, setting_key
from ddcal_core.specs.kinds.study import (
    MAX_CELLS,
    NamedVariants,
    StudyParams,
    ValueRange,
    Varied,
    Vary,
)

MAX_PART = 20_000
"""Characters, as JSON, of the base and of what a single value or variant sets."""


class StudyError(ValueError):
    """What varies does not fit together.

    Attributes:
        path: of the field of a study's params that is wrong.
    """

    def __init__(self, path: Sequence[str | int], words: str) -> None:
        super().__init__(words)
        self.path = tuple(path)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One pipeline of a study.

    Attributes:
        settings: what sets it apart: path, or name of variants -> value, or name of the variant.
        params: of the pipeline, not checked yet.
        origins: path in them -> where in the study's params its value stands.
    """

    settings: dict[str, SettingValue]
    params: dict[str, Any]
    origins: dict[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """One value of what varies."""

    name: str
    value: SettingValue
    assigned: Mapping[str, Any]
    place: tuple[str, ...]


def cells_of(params: StudyParams) -> list[Cell]:
    """Every cell, the last of what varies changing first.

    Raises:
        StudyError: what varies does not fit together, or leaves no cell, or too many.
    """
    _check_size(("base",), params.base)
    axes = [_choices(name, varied) for name, varied in params.vary.items()]
    for choice in itertools.chain.from_iterable(axes):
        _check_size(choice.place, choice.assigned)
    if not axes:
        raise StudyError(("vary",), "wanted at least one field that varies, got none")
    _check_paths(axes)
    chosen = _zipped(axes) if params.combine == "zipped" else _crossed(axes)
    taken = list(_without_excluded(params, chosen))
    if not taken:
        raise StudyError(("exclude",), "every cell is excluded: wanted one that is left")
    cells = [_cell(params.base or {}, choices) for choices in taken]
    _check_mentioned(params, cells)
    return cells


def _check_mentioned(params: StudyParams, cells: Sequence[Cell]) -> None:
    """The reference and the rules name settings that cells have."""
    known: dict[str, set[object]] = {name: set() for name in params.vary}
    for cell in cells:
        for name, value in cell.settings.items():
            known[name].add(setting_key(value))
    mentioned: list[tuple[Sequence[str | int], str, object]] = [
        (("reference",), name, value) for name, value in (params.reference or {}).items()
    ]
    for k, rule in enumerate(params.rules):
        places: list[tuple[tuple[str | int, ...], SettingChoice]] = [
            (("of",), rule.of.settings),
            *((("against", j), rows.settings) for j, rows in enumerate(rule.against)),
        ]
        mentioned += [
            (("rules", k, *place, "settings"), name, value)
            for place, choice in places
            for name, values in choice.items()
            for value in values
        ]
    for path, name, meant in mentioned:
        if name not in known:
            words = f"wanted one of what varies: {', '.join(known)}; got {name}"
            raise StudyError((*path, name), words)
        if setting_key(meant) not in known[name]:
            raise StudyError((*path, name), "no cell has this value: wanted one that varies")


def _check_size(path: Sequence[str], part: object) -> None:
    """Each cell is checked whole, so a part of all of them may not be long."""
    if len(json.dumps(part)) > MAX_PART:
        raise StudyError(path, f"wanted at most {MAX_PART:,} characters of JSON, got more")


def with_added(known: Vary, more: Vary) -> Vary:
    """What varies, with further values after those that are there; each once.

    Raises:
        StudyError: values cannot be added to named variants, nor these to values; or a variant of
            the same name sets something else.
    """
    return {**known, **{name: _added(name, known.get(name), new) for name, new in more.items()}}


def _added(name: str, known: Varied | None, more: Varied) -> Varied:
    if known is None:
        return more
    if isinstance(known, NamedVariants) and isinstance(more, NamedVariants):
        for word, given in more.variants.items():
            if known.variants.get(word, given) != given:
                words = f"there is another variant {word} already: wanted a name of its own"
                raise StudyError(("vary", name, "variants", word), words)
        return NamedVariants(variants={**known.variants, **more.variants})
    if isinstance(known, NamedVariants) or isinstance(more, NamedVariants):
        raise StudyError(("vary", name), "wanted variants to add to variants, values to values")
    values = _values(known)
    keys = {setting_key(value) for value in values}
    return [*values, *(value for value in _values(more) if setting_key(value) not in keys)]


def _values(varied: list[SettingValue] | ValueRange) -> list[SettingValue]:
    return varied.values() if isinstance(varied, ValueRange) else varied


def _choices(name: str, varied: Varied) -> list[_Choice]:
    if isinstance(varied, NamedVariants):
        return [
            _Choice(name=name, value=word, assigned=given, place=("vary", name, "variants", word))
            for word, given in varied.variants.items()
        ]
    values = _values(varied)
    keys = [setting_key(value) for value in values]
    for k, key in enumerate(keys):
        if key in keys[:k]:
            raise StudyError(("vary", name, k), f"wanted each value once, got {values[k]!r} again")
    place = ("vary", name)
    return [
        _Choice(name=name, value=one, assigned=_alone(name, one), place=place) for one in values
    ]


def _alone(name: str, value: SettingValue) -> dict[str, Any]:
    return {name: [*value] if isinstance(value, list) else value}


def _check_paths(axes: Sequence[Sequence[_Choice]]) -> None:
    """No field is set by two of what varies, not even in part."""
    for choice in itertools.chain.from_iterable(axes):
        paths = sorted(tuple(path.split(".")) for path in choice.assigned)
        for outer, inner in itertools.pairwise(paths):
            if inner[: len(outer)] == outer:
                words = f"it sets {'.'.join(outer)} and, within it, {'.'.join(inner)}: wanted one"
                raise StudyError(choice.place, words)
    owners: dict[tuple[str, ...], str] = {}
    for axis in axes:
        own = {tuple(path.split(".")) for choice in axis for path in choice.assigned}
        for path in sorted(own):
            for other, name in owners.items():
                if path[: len(other)] == other or other[: len(path)] == path:
                    words = f"it sets {'.'.join(path)}, and so does {name}: wanted one of the two"
                    raise StudyError(("vary", axis[0].name), words)
        owners |= dict.fromkeys(own, axis[0].name)


def _crossed(axes: Sequence[Sequence[_Choice]]) -> Iterator[tuple[_Choice, ...]]:
    n_cells = math.prod(len(axis) for axis in axes)
    if n_cells > MAX_CELLS:
        raise StudyError(
            ("vary",), f"wanted at most {MAX_CELLS:,} cells, got {n_cells:,}: fewer values, please"
        )
    return itertools.product(*axes)


def _zipped(axes: Sequence[Sequence[_Choice]]) -> Iterator[tuple[_Choice, ...]]:
    first, *others = axes
    for axis in others:
        if len(axis) != len(first):
            words = f"wanted as many values as {first[0].name} has, {len(first)}; got {len(axis)}"
            raise StudyError(("vary", axis[0].name), words)
    return zip(*axes, strict=True)


def _without_excluded(
    params: StudyParams, cells: Iterator[tuple[_Choice, ...]]
) -> Iterator[tuple[_Choice, ...]]:
    wanted = [
        {name: setting_key(value) for name, value in excluded.items()}
        for excluded in params.exclude
    ]
    for k, excluded in enumerate(params.exclude):
        for name in excluded:
            if name not in params.vary:
                words = f"wanted one of what varies: {', '.join(params.vary)}; got {name}"
                raise StudyError(("exclude", k, name), words)
    n_met = [0] * len(wanted)
    for choices in cells:
        has = {choice.name: setting_key(choice.value) for choice in choices}
        met = [k for k, one in enumerate(wanted) if one.items() <= has.items()]
        for k in met:
            n_met[k] += 1
        if not met:
            yield choices
    for k, n in enumerate(n_met):
        if not n:
            raise StudyError(("exclude", k), "it excludes nothing: no cell has these values")


def _cell(base: Mapping[str, Any], choices: Sequence[_Choice]) -> Cell:
    params: dict[str, Any] = dict(base)
    origins: dict[tuple[str, ...], tuple[str, ...]] = {}
    for choice in choices:
        for path, value in choice.assigned.items():
            parts = tuple(path.split("."))
            own = choice.place if len(choice.place) == 2 else (*choice.place, path)
            try:
                params = _with_value(params, parts, value)
            except (LookupError, TypeError):
                words = f"there is no place {path} in the base: wanted a path of its fields"
                raise StudyError(own, words) from None
            origins[parts] = own
    settings = {choice.name: choice.value for choice in choices}
    return Cell(settings=settings, params=params, origins=origins)


def _with_value(node: Any, path: Sequence[str], value: Any) -> Any:  # noqa: ANN401  JSON
    """A copy of a JSON document with a value at a path; objects on the way are made."""
    if not path:
        return value
    name, *rest = path
    if isinstance(node, list):
        # One spelling alone: what varies is told apart by its path.
        k = int(name) if name.isdecimal() and name == str(int(name)) else len(node)
        return [*node[:k], _with_value(node[k], rest, value), *node[k + 1 :]]
    if node is not None and not isinstance(node, dict):
        raise TypeError(name)
    held = dict(node or {})
    return {**held, name: _with_value(held.get(name), rest, value)}
