"""Commands about what jobs read and what they make: uploads, data sets, results."""

import itertools
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcal.cli.descriptions import Notes, Tags, in_words, tags_of
from ddcal.cli.edge import FAILED, AsJson, Command, client_of
from ddcal.cli.lists import (
    Limit,
    OfIpc,
    OfMethod,
    OnDataset,
    Search,
    Since,
    Tagged,
    Until,
    searched,
    show_found,
)
from ddcal.cli.output import Column, complain, moment, percent, print_json, say, size
from ddcal.errors import UploadRejectedError
from ddcal.handles import Dataset, Result
from ddcal.records import DatasetRecord, ResultRecord

DATA_PANEL = "Data and results"
OfJob = Annotated[str | None, typer.Option("--job", metavar="JOB", help="Only those of this job.")]
MinAccuracy = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Only those at least so accurate, such as 0.9."
    ),
]
MaxEce = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Only those with at most this ECE, such as 0.05."
    ),
]
Resize = Annotated[
    int | None, typer.Option(metavar="SIDE", help="Resize image files to this side, in pixels.")
]
TestFraction = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Test on this share of a data set that has no test part (default: 0.2).",
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Draw those by this seed (default: 0).")
]
Background = Annotated[
    str | None,
    typer.Option(metavar="COLOUR", help="Lay transparent pixels over white, black or #rrggbb."),
]
GreyBits = Annotated[
    int | None,
    typer.Option(metavar="BITS", help="Bits in use of 16-bit grey images (default: 16)."),
]
Names = Annotated[
    str | None,
    typer.Option(metavar="CODEPAGE", help="What file names are written in, where not in UTF-8."),
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label", metavar="COLUMN", help="Column of labels, of a table or parquet."),
]


class Colour(StrEnum):
    """What image files are brought to."""

    grey = "grey"
    rgb = "rgb"


class Values(StrEnum):
    """What an upload of logits holds."""

    logits = "logits"
    probabilities = "probabilities"


class By(StrEnum):
    """What a list of results may be sorted by."""

    accuracy = "accuracy"
    ece = "ece"


class ByAccuracy(StrEnum):
    """What a list of distilled sets may be sorted by."""

    accuracy = "accuracy"


_BEST_FIRST = "The best first, not the newest; leaves out what was not measured."
Sort = Annotated[By | None, typer.Option(help=_BEST_FIRST)]
SortSets = Annotated[ByAccuracy | None, typer.Option("--sort", help=_BEST_FIRST)]
Coloured = Annotated[Colour | None, typer.Option(help="Make image files grey or coloured.")]


def upload(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Zip, tar.gz or folder of images; .npz; parquet or Arrow; files of CIFAR, MNIST "
            "or SVHN as downloaded; or .npz of logits.",
        ),
    ],
    logits: Annotated[
        bool, typer.Option("--logits", help="These are logits of a network made elsewhere.")
    ] = False,
    values: Annotated[
        Values | None, typer.Option(help="What the logits are, where in doubt.")
    ] = None,
    resize: Resize = None,
    colour: Coloured = None,
    background: Background = None,
    grey_bits: GreyBits = None,
    test_fraction: TestFraction = None,
    seed: Seed = None,
    names: Names = None,
    label: LabelColumn = None,
    tags: Tags = None,
    notes: Notes = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch until it has been checked.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Upload a data set, or logits; prints its name and state."""
    of_images = given(
        resize=resize,
        colour=colour,
        background=background,
        grey_bits=grey_bits,
        test_fraction=test_fraction,
        seed=seed,
        names=names,
        label=label,
    )
    if logits and of_images:
        complain(f"logits have no {', '.join(of_images)}: these are for image files")
        return FAILED
    options = {**of_images, **given(values=values, notes=notes), "tags": tags_of(tags)}
    with client_of(context) as client:
        dataset = client.upload(name, file, logits=logits, **options)
        status = _checked(dataset) if watch else 0
    if as_json:
        print_json(dataset.record)
    else:
        print(dataset.name, dataset.state)
    return status


def _checked(dataset: Dataset) -> int:
    """Wait for an upload's check; tell how it was read and what is odd about it."""
    try:
        dataset.wait(progress=True)
    except UploadRejectedError as error:
        complain(str(error))
        return FAILED
    facts = dataset.record.facts or {}
    for told in (*facts.get("recognised", ()), *facts.get("notes", ())):
        say(told)
    return 0


def given(**options: str | float | None) -> dict[str, Any]:
    """Those options that were given."""
    return {
        name: str(value) if isinstance(value, StrEnum) else value
        for name, value in options.items()
        if value is not None
    }


DATASET_COLUMNS = (
    Column("NAME", is_whole=True),
    Column("STATE", is_whole=True),
    Column("CLASSES", is_number=True),
    Column("IMAGES"),
    Column("TRAIN / TEST"),
    Column("CREATED", is_extra=True),
    Column("SIZE", is_extra=True, is_number=True),
    Column("TAGS", is_extra=True),
)


def datasets(
    context: typer.Context,
    search: Search = None,
    tags: Tagged = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """List data sets and uploaded logits."""
    filters = searched(search, tags, since, until)
    with client_of(context) as client:
        both = itertools.chain(client.datasets(**filters), client.logits(**filters))
        found = (one.record for one in both)
        show_found(
            found, DATASET_COLUMNS, _cells, limit=0, as_json=as_json, nothing="none like that"
        )


def _cells(dataset: DatasetRecord) -> list[str]:
    facts = dataset.facts or {}
    shape = facts.get("image_shape")
    images = " × ".join(map(str, shape)) if shape else "logits" if "n_fit" in facts else ""
    train, test = facts.get("n_train", facts.get("n_fit")), facts.get("n_test")
    validation = facts.get("n_validation")
    parts = [n for n in (train, validation, test or 0) if n is not None]
    return [
        dataset.name,
        dataset.state,
        str(facts.get("n_classes", "")),
        images,
        "" if train is None else " / ".join(f"{n:,}" for n in parts),
        moment(dataset.created_at),
        size(dataset.n_bytes),
        in_words(dataset.tags),
    ]


def sets(
    context: typer.Context,
    job: OfJob = None,
    dataset: OnDataset = None,
    method: OfMethod = None,
    ipc: OfIpc = None,
    search: Search = None,
    tags: Tagged = None,
    since: Since = None,
    until: Until = None,
    min_accuracy: MinAccuracy = None,
    sort: SortSets = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List distilled sets, newest first."""
    asked = {"job_id": job, "dataset": dataset, "method": method, "images_per_class": ipc}
    measured = {"min_accuracy": min_accuracy, "sort": _best_first(sort)}
    filters = searched(search, tags, since, until, **measured, **asked)
    with client_of(context) as client:
        _show(client.sets(**filters), SET_COLUMNS, _set_cells, limit=limit, as_json=as_json)


def models(
    context: typer.Context,
    job: OfJob = None,
    dataset: OnDataset = None,
    search: Search = None,
    tags: Tagged = None,
    since: Since = None,
    until: Until = None,
    min_accuracy: MinAccuracy = None,
    max_ece: MaxEce = None,
    sort: Sort = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List trained networks, newest first."""
    asked = {"job_id": job, "dataset": dataset, "min_accuracy": min_accuracy, "max_ece": max_ece}
    filters = searched(search, tags, since, until, sort=_best_first(sort), **asked)
    with client_of(context) as client:
        _show(client.models(**filters), MODEL_COLUMNS, _model_cells, limit=limit, as_json=as_json)


def reports(
    context: typer.Context,
    job: OfJob = None,
    dataset: OnDataset = None,
    search: Search = None,
    tags: Tagged = None,
    since: Since = None,
    until: Until = None,
    min_accuracy: MinAccuracy = None,
    max_ece: MaxEce = None,
    sort: Sort = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List reports, newest first."""
    asked = {"job_id": job, "dataset": dataset, "min_accuracy": min_accuracy, "max_ece": max_ece}
    filters = searched(search, tags, since, until, sort=_best_first(sort), **asked)
    with client_of(context) as client:
        found = client.reports(**filters)
        _show(found, REPORT_COLUMNS, _report_cells, limit=limit, as_json=as_json)


def _best_first(by: StrEnum | None) -> str | None:
    """As the service is asked: accuracy from the highest on, errors from the lowest on."""
    return "-accuracy" if by == By.accuracy else by


_ID = Column("ID", is_whole=True)
_DATASET = Column("DATA SET")
_ACCURACY, _ECE = (Column(name, is_whole=True, is_number=True) for name in ("ACCURACY", "ECE"))
_LAST = (Column("NAME"), Column("CREATED", is_extra=True), Column("TAGS", is_extra=True))
SET_COLUMNS = (_ID, _DATASET, Column("METHOD"), Column("IPC", is_number=True), _ACCURACY, *_LAST)
_NETWORK = (Column("TRAINED ON", is_whole=True), Column("SEED", is_extra=True, is_number=True))
MODEL_COLUMNS = (_ID, _DATASET, *_NETWORK, _ACCURACY, _ECE, *_LAST)
_BEST = (
    Column("BEST ACCURACY", is_whole=True, is_number=True),
    Column("BEST ECE", is_whole=True, is_number=True),
)
REPORT_COLUMNS = (_ID, _DATASET, *_BEST, *_LAST, Column("HEADLINE", is_extra=True))


def _show(
    results: Iterator[Result],
    columns: tuple[Column, ...],
    cells: Callable[[ResultRecord], list[str]],
    *,
    limit: int,
    as_json: bool,
) -> None:
    found = (one.record for one in results)
    show_found(found, columns, cells, limit=limit, as_json=as_json, nothing="none there")


def _set_cells(one: ResultRecord) -> list[str]:
    ipc = str(one.details.get("images_per_class", ""))
    measured = percent(one.accuracy)
    return [one.id, one.dataset or "", one.method or "", ipc, measured, *_last_cells(one)]


def _model_cells(one: ResultRecord) -> list[str]:
    made = [_trained_on(one), str(one.details.get("seed_index", ""))]
    measured = percent(one.accuracy), percent(one.ece)
    return [one.id, one.dataset or "", *made, *measured, *_last_cells(one)]


def _trained_on(one: ResultRecord) -> str:
    source = str(one.details.get("training_set", ""))
    if not one.details.get("imported"):
        return source
    return "imported" if source == "unknown" else f"{source}, imported"


def _report_cells(one: ResultRecord) -> list[str]:
    measured = percent(one.accuracy), percent(one.ece)
    headline = str(one.details.get("headline", ""))
    return [one.id, one.dataset or "", *measured, *_last_cells(one), headline]


def _last_cells(one: ResultRecord) -> list[str]:
    return [one.name or "", moment(one.created_at), in_words(one.tags)]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (upload, datasets, sets, models, reports):
        app.command(cls=Command, rich_help_panel=DATA_PANEL)(command)
