"""The command that brings in distilled sets made elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddcal.cli.data import DATA_PANEL, given
from ddcal.cli.descriptions import Notes, Tags, tags_of
from ddcal.cli.edge import FAILED, AsJson, Command, client_of
from ddcal.cli.output import complain, print_json
from ddcal.errors import JobFailedError
from ddcal.handles import Job


class Space(StrEnum):
    """What the images are."""

    pixels = "pixels"
    standardised = "standardised"
    zca = "zca"


def upload_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".pt of DC, DSA or DM; .pt, .npz or safetensors of images and labels; or MTT's "
            "file of images.",
        ),
    ],
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="The data set that it was made from.")
    ],
    space: Annotated[Space, typer.Option(help="What the images are.")],
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MTT's file of labels, beside its images.")
    ] = None,
    experiment: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Which set of the file, from 0 (default: all)."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", help="That the images were standardised by: 0.49,0.48,..."),
    ] = None,
    std: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Likewise.")] = None,
    zca_eps: Annotated[
        float | None,
        typer.Option(
            "--zca-eps",
            metavar="EPS",
            help="Fit the matrix of whitened images on the data set, with this (MTT: 0.1).",
        ),
    ] = None,
    learned_lr: Annotated[
        float | None, typer.Option("--learned-lr", metavar="RATE", help="Learned with the images.")
    ] = None,
    tags: Tags = None,
    notes: Notes = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch until it has been checked; print the sets.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Upload a distilled set made elsewhere; prints the job that takes it in."""
    options = given(
        dataset=dataset,
        space=space,
        experiment=experiment,
        zca_eps=zca_eps,
        learned_lr=learned_lr,
        notes=notes,
    )
    options |= {"mean": mean and mean.split(","), "std": std and std.split(",")}
    source = file if labels is None else (file, labels)
    with client_of(context) as client:
        job = client.upload_sets(name, source, tags=tags_of(tags), **options)
        return told(job, watch=watch, as_json=as_json)


def told(job: Job, *, watch: bool, as_json: bool) -> int:
    """Print the job that takes an upload in, or, once it has ended, what it has made.

    Returns:
        The exit status.
    """
    if watch:
        try:
            job.wait(progress=True)
        except JobFailedError as error:
            complain(str(error))
            return FAILED
    if as_json:
        print_json(job.record)
    elif watch:
        for result in job.results:
            print(result.id, result.record.name or "")
    else:
        print(job.id)
    return 0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upload-set", cls=Command, rich_help_panel=DATA_PANEL)(upload_set)
