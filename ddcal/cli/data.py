"""Commands about what jobs read and what they make: uploads, data sets, results."""

import itertools
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcal.cli.edge import FAILED, AsJson, client_of
from ddcal.cli.output import Column, complain, moment, print_json, print_list, say, size
from ddcal.errors import UploadRejectedError
from ddcal.records import DatasetRecord, ResultRecord

DATA_PANEL = "Data and results"
OfJob = Annotated[str | None, typer.Option("--job", metavar="JOB", help="Only those of this job.")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")]
Resize = Annotated[
    int | None, typer.Option(metavar="SIDE", help="Bring image files to this side in pixels.")
]
TestFraction = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Of image files without train and test folders (0.2)."),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Of that split (0).")]


class Colour(StrEnum):
    """What image files are brought to."""

    grey = "grey"
    rgb = "rgb"


class Values(StrEnum):
    """What an upload of logits holds."""

    logits = "logits"
    probabilities = "probabilities"


Coloured = Annotated[Colour | None, typer.Option(help="Bring image files to this.")]


def upload(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As it is to be called.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".npz, zip of images in class folders, or the folder itself; or .npz of logits.",
        ),
    ],
    logits: Annotated[
        bool, typer.Option("--logits", help="Logits of a network made elsewhere.")
    ] = False,
    values: Annotated[
        Values | None, typer.Option(help="What these are, where in doubt; of logits.")
    ] = None,
    resize: Resize = None,
    colour: Coloured = None,
    test_fraction: TestFraction = None,
    seed: Seed = None,
    watch: Annotated[bool, typer.Option("--watch", help="And watch it being checked.")] = False,
    as_json: AsJson = False,
) -> int:
    """Upload a data set, or logits; prints its name and state."""
    of_images = given(resize=resize, colour=colour, test_fraction=test_fraction, seed=seed)
    if logits and of_images:
        complain(f"logits have no {', '.join(of_images)}: these are for image files")
        return FAILED
    options = {**of_images, **given(values=values)}
    with client_of(context) as client:
        dataset = client.upload(name, file, logits=logits, **options)
        status = 0
        if watch:
            try:
                dataset.wait(progress=True)
            except UploadRejectedError as error:
                complain(str(error))
                status = FAILED
    if as_json:
        print_json(dataset.record)
    else:
        print(dataset.name, dataset.state)
    return status


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
    Column("CLASSES"),
    Column("IMAGES"),
    Column("TRAIN / TEST"),
    Column("SIZE", is_extra=True),
    Column("CREATED", is_extra=True),
)


def datasets(context: typer.Context, as_json: AsJson = False) -> None:
    """List data sets and uploaded logits."""
    with client_of(context) as client:
        found = [one.record for one in itertools.chain(client.datasets(), client.logits())]
    if as_json:
        print_json(found)
    else:
        print_list(DATASET_COLUMNS, [_cells(one) for one in found])


def _cells(dataset: DatasetRecord) -> list[str]:
    facts = dataset.facts or {}
    shape = facts.get("image_shape")
    images = " × ".join(map(str, shape)) if shape else "logits" if "n_fit" in facts else ""
    train, test = facts.get("n_train", facts.get("n_fit")), facts.get("n_test")
    return [
        dataset.name,
        dataset.state,
        str(facts.get("n_classes", "")),
        images,
        "" if train is None else f"{train:,} / {test:,}",
        size(dataset.n_bytes),
        moment(dataset.created_at),
    ]


def sets(
    context: typer.Context, job: OfJob = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """List distilled sets, newest first."""
    _list(context, "distilled-sets", SET_COLUMNS, (job, limit, as_json))


def models(
    context: typer.Context, job: OfJob = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """List trained networks, newest first."""
    _list(context, "models", MODEL_COLUMNS, (job, limit, as_json))


def reports(
    context: typer.Context, job: OfJob = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """List reports, newest first."""
    _list(context, "reports", REPORT_COLUMNS, (job, limit, as_json))


SET_COLUMNS = ("method", "images_per_class")
MODEL_COLUMNS = ("training_set", "seed_index", "train_accuracy")
REPORT_COLUMNS = ("headline",)


def _list(
    context: typer.Context,
    collection: str,
    details: tuple[str, ...],
    asked: tuple[str | None, int, bool],
) -> None:
    job, limit, as_json = asked
    filters = {} if job is None else {"job_id": job}
    with client_of(context) as client:
        results = client.results(collection, **filters)
        found = [one.record for one in itertools.islice(results, limit + 1 or None)]
    is_cut = 0 < limit < len(found)
    found = found[:limit] if is_cut else found
    if as_json:
        print_json(found)
    elif found:
        names = [Column(name.replace("_", " ").upper()) for name in details]
        columns = (
            Column("ID", is_whole=True),
            Column("CREATED", is_whole=True),
            Column("DATA SET"),
            *names,
        )
        print_list(columns, [_result_cells(one, details) for one in found])
    else:
        say("nothing there yet")
    if is_cut:
        say(f"these are the newest {limit}: for more give --limit")


def _result_cells(result: ResultRecord, details: tuple[str, ...]) -> list[str]:
    told = [result.details.get(name) for name in details]
    words = [f"{value:.4g}" if isinstance(value, float) else str(value or 0) for value in told]
    return [result.id, moment(result.created_at), result.dataset or "", *words]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (upload, datasets, sets, models, reports):
        app.command(rich_help_panel=DATA_PANEL)(command)
