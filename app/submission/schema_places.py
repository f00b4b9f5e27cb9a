"""Where in a model a place of a document is: what can be asked there, and what it is called."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag

Path = tuple[str | int, ...]
Model = type[BaseModel]
_DEEPEST = 5


@dataclass(frozen=True)
class Place:
    """A place that a validator has pointed at.

    Attributes:
        path: as the document has it, without the names of members of unions.
        holder: the model of the object that the last name of the path stands in.
        members: the types that may stand there.
    """

    path: Path
    holder: Model | None
    members: tuple[object, ...]


def place_of(model: Model, location: Sequence[str | int]) -> Place:
    """The place of a validator's location, which also names the members of unions it chose."""
    members: tuple[object, ...] = (model,)
    path: list[str | int] = []
    holder: Model | None = None
    for part in location:
        if len(members) > 1:
            members = tuple(_type_of(one) for one in members if part in _names_of(one))
            continue
        path.append(part)
        holder = next(iter(_models(members)), None)
        members = _below(members, part)
    return Place(tuple(path), holder, tuple(_type_of(one) for one in members))


def words_at(model: Model, path: Path) -> tuple[str, ...]:
    """The words that may stand at a place of a document, whichever members of unions are meant."""
    members: tuple[object, ...] = (model,)
    for part in path:
        members = _below(members, part)
    return tuple(
        dict.fromkeys(
            word
            for one in members
            if get_origin(_type_of(one)) is Literal
            for word in get_args(_type_of(one))
            if isinstance(word, str)
        )
    )


def tag_words(members: Sequence[object], field: str) -> tuple[str, ...]:
    """The words by which a field tells the members of a union apart."""
    return tuple(members_by_word(members, field))


def members_by_word(members: Sequence[object], field: str) -> dict[str, Model]:
    """The members of a union by the words in which a field tells them apart."""
    return {word: one for one in _models(members) for word in words_at(one, (field,))}


def fields_below(model: Model) -> Iterator[tuple[str, Path]]:
    """Every field of a model and of what it holds, with its path; the nearest first."""
    level: list[tuple[Model, Path]] = [(model, ())]
    for _ in range(_DEEPEST):
        further: list[tuple[Model, Path]] = []
        for holder, path in level:
            for name in holder.model_fields:
                yield name, (*path, name)
                members = _below((holder,), name)
                items = _below(members, 0)
                further += [(one, (*path, name)) for one in _models(members)]
                further += [(one, (*path, name, 0)) for one in _models(items)]
        level = further


def _below(members: Sequence[object], part: str | int) -> tuple[object, ...]:
    """What may stand under a name or index of some types."""
    found: list[object] = []
    for one in map(_type_of, members):
        if _is_model(one):
            found += _members(_hints(one).get(part)) if isinstance(part, str) else ()
        elif get_origin(one) in (list, tuple) and isinstance(part, int):
            found += _members(get_args(one)[0])
        elif get_origin(one) is dict and isinstance(part, str):
            found += _members(get_args(one)[1])
    return tuple(found)


def _members(annotation: object) -> tuple[object, ...]:
    """The members of a union, None left out, each with its tag; of any other type itself."""
    bare = _type_of(annotation)
    if get_origin(bare) in (Union, UnionType):
        return tuple(member for one in get_args(bare) for member in _members(one))
    return () if bare in (None, NoneType) else (annotation,)


def _names_of(member: object) -> tuple[str, ...]:
    """What a validator calls a member of a union: its tag, or a word that tells it apart."""
    metadata = get_args(member)[1:] if get_origin(member) is Annotated else ()
    tags = tuple(one.tag for one in metadata if isinstance(one, Tag))
    bare = _type_of(member)
    if tags or not _is_model(bare):
        return tags
    return tuple(
        word
        for hint in _hints(bare).values()
        if get_origin(_type_of(hint)) is Literal
        for word in get_args(_type_of(hint))
    )


def _models(members: Sequence[object]) -> list[Model]:
    return [one for one in map(_type_of, members) if _is_model(one)]


def _type_of(annotation: object) -> object:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _is_model(one: object) -> TypeGuard[Model]:
    return isinstance(one, type) and issubclass(one, BaseModel)


@cache
def _hints(model: Model) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)
