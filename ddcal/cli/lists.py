"""What all lists have in common: how they are searched, how long they are, how they are shown."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel

from ddcal.cli.output import Column, print_json, print_list, say

RecordT = TypeVar("RecordT", bound=BaseModel)
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

Limit = Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")]
Search = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS", help="Only those with these words in name or notes, or whose id begins so."
    ),
]
Tagged = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="KEY=VALUE",
        help="Only those with this tag (KEY alone: any value); several times for several.",
    ),
]
OnDataset = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Only those on this data set.")
]
OfMethod = Annotated[
    str | None,
    typer.Option("--method", metavar="NAME", help="Only those distilled by this method."),
]
OfIpc = Annotated[
    int | None,
    typer.Option("--ipc", min=1, metavar="N", help="Only those with so many images per class."),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME",
        formats=_TIMES,
        help="Only those made from then on: 2026-11-30 or 2026-11-30T14:00.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(metavar="TIME", formats=_TIMES, help="Only those made before then."),
]


def searched(
    search: str | None,
    tags: Sequence[str] | None,
    since: datetime | None,
    until: datetime | None,
    **others: object,
) -> dict[str, Any]:
    """What the service is asked for; others are filters of its own, left out where None."""
    filters = {
        "q": search,
        "tag": [tag.replace("=", ":", 1) for tag in tags or ()] or None,
        "created_after": since and since.astimezone().isoformat(),
        "created_before": until and until.astimezone().isoformat(),
        **others,
    }
    return {name: value for name, value in filters.items() if value is not None}


def show_found(
    found: Iterable[RecordT],
    columns: Sequence[Column],
    cells: Callable[[RecordT], Sequence[str]],
    *,
    limit: int,
    as_json: bool,
    nothing: str,
) -> None:
    """Print the first of what was found, and say where there is more.

    Args:
        found: read no further than needed.
        columns: of the list.
        cells: of one line.
        limit: how many lines at most; 0 for all.
        as_json: whether to print JSON instead.
        nothing: what to say where nothing was found.
    """
    shown = list(itertools.islice(found, limit + 1 if limit else None))
    is_cut = 0 < limit < len(shown)
    shown = shown[:limit] if is_cut else shown
    if as_json:
        print_json(shown)
    elif shown:
        print_list(columns, [cells(one) for one in shown])
    else:
        say(nothing)
    if is_cut:
        say("there are more: see them with a larger --limit, or all with --limit 0")
