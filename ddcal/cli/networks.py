"""The command that brings in networks made elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddcal.cli.data import DATA_PANEL, given
from ddcal.cli.descriptions import Notes, Tags, tags_of
from ddcal.cli.edge import AsJson, Command, client_of
from ddcal.cli.sets import told


class Space(StrEnum):
    """What the network reads."""

    pixels = "pixels"
    standardised = "standardised"


class Layout(StrEnum):
    """The order of the input's dimensions."""

    nchw = "nchw"
    nhwc = "nhwc"


class Outputs(StrEnum):
    """What comes out."""

    logits = "logits"
    probabilities = "probabilities"


Architecture = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of safetensors: torchvision.resnet18, torchvision.resnet50, torchvision.vit_b_16, or "
        "one of this service's, such as convnet.",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Of one of this service's: width=32, depth=3, norm=batch, ...; repeatable.",
    ),
]
Numbers = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="That its input is standardised by: 0.49,0.48,..."),
]
Side = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="PIXELS", help="Of the square that it reads (default: as it has it)."
    ),
]
ClassOrder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        help="The class of its first output; again for the second, and so on (default: the data "
        "set's order).",
    ),
]
SetId = Annotated[
    str | None, typer.Option(metavar="ID", help="The set that it was trained on: set_....")
]


def upload_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="ONNX, or safetensors of a network known by name; or a downloaded folder, whose "
            "config.json says the rest.",
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The data set that it is for.")
    ] = None,
    space: Annotated[Space | None, typer.Option(help="What the network reads.")] = None,
    architecture: Architecture = None,
    option: Options = None,
    mean: Numbers = None,
    std: Numbers = None,
    side: Side = None,
    layout: Annotated[Layout | None, typer.Option(help="Of an ONNX input.")] = None,
    outputs: Annotated[Outputs | None, typer.Option(help="What comes out.")] = None,
    class_order: ClassOrder = None,
    distilled_set: SetId = None,
    tags: Tags = None,
    notes: Notes = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch until it has been tried; print the model.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Upload a network made elsewhere; prints the job that tries it."""
    options = given(
        dataset=dataset,
        space=space,
        architecture=architecture,
        side=side,
        layout=layout,
        outputs=outputs,
        distilled_set=distilled_set,
        notes=notes,
    )
    lists = {"mean": mean and mean.split(","), "std": std and std.split(",")}
    lists["class_order"] = class_order or None
    options |= {field: values for field, values in lists.items() if values}
    options |= dict(_pair(one) for one in option or ())
    with client_of(context) as client:
        job = client.upload_model(name, file, tags=tags_of(tags), **options)
        return told(job, watch=watch, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise typer.BadParameter(f"wanted NAME=VALUE, got {text!r}", param_hint="--option")
    return name, value


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upload-model", cls=Command, rich_help_panel=DATA_PANEL)(upload_model)
