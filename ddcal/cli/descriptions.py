"""What people say of jobs and uploads: the options that take it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer


def _checked(tags: list[str] | None) -> list[str] | None:
    for tag in tags or ():
        key, sign, value = tag.partition("=")
        if not (key and sign and value):
            raise typer.BadParameter(f"wanted KEY=VALUE, such as env=prod, got {tag!r}")
    return tags


JobName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name the job.")]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="KEY=VALUE",
        callback=_checked,
        help="Tag it; several times for several tags.",
    ),
]
Notes = Annotated[str | None, typer.Option(metavar="TEXT", help="Add notes to it.")]


def description(name: str | None, tags: Sequence[str] | None, notes: str | None) -> dict[str, Any]:
    """Fields of a request: those that were given."""
    said = {"name": name, "tags": tags_of(tags), "notes": notes}
    return {field: value for field, value in said.items() if value}


def tags_of(words: Sequence[str] | None) -> dict[str, str]:
    """Tags that were given as KEY=VALUE; of a key given twice, the last."""
    pairs = [word.partition("=") for word in words or ()]
    return {key: value for key, _, value in pairs}


def in_words(tags: Mapping[str, str]) -> str:
    """Tags as they are given, by key: env=prod who=me."""
    return " ".join(f"{key}={value}" for key, value in sorted(tags.items()))
