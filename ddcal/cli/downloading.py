"""The command that fetches what jobs have made, as it is or in another format."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddcal.cli.completing import complete_jobs
from ddcal.cli.edge import FAILED, AsJson, Command, client_of
from ddcal.cli.jobs import JOBS_PANEL
from ddcal.cli.output import complain, print_json
from ddcal.client import Client
from ddcal.handles import Result
from ddcal.records import RESULT_PREFIXES


class Format(StrEnum):
    """What results can be downloaded as."""

    safetensors = "safetensors"
    npz = "npz"
    imagefolder = "imagefolder"
    huggingface = "huggingface"
    webdataset = "webdataset"
    dc = "dc"
    mtt = "mtt"
    card = "card"
    onnx = "onnx"
    pt2 = "pt2"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    figures = "figures"


def download(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="JOB|RESULT",
            help="The id of a job, or of a result.",
            autocompletion=complete_jobs,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the files to it (default: the id)."),
    ] = None,
    word: Annotated[
        Format | None,
        typer.Option(
            "--format", help="In this format, made when it is first asked for; `ddcal show` tells."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Fetch all that a job has made, or one result; exit 3 if the job has not ended."""
    folder = out or Path(name)
    resource = RESULT_PREFIXES.get(name.partition("_")[0])
    with client_of(context) as client:
        if resource is not None:
            written = client.result(resource, name).download(folder, format=word)
        elif word is not None:
            written = _exported(client, name, word, folder)
        else:
            written = client.job(name).download(folder)
    if not written:
        complain(f"{name} has made {f'nothing that {word} holds' if word else 'no files'}")
        return FAILED
    if as_json:
        print_json(written)
    else:
        print("\n".join(map(str, written)))
    return 0


def _exported(client: Client, job_id: str, word: Format, folder: Path) -> list[Path]:
    """All results of a job that the format holds, each in a folder of its own if there are more."""
    job = client.job(job_id)
    if not job.record.is_done:
        return job.download(folder)  # which says so
    held = [result for result in job.results if _is_held(result, word)]
    return [
        path
        for result in held
        for path in result.download(folder / result.id if len(held) > 1 else folder, format=word)
    ]


def _is_held(result: Result, word: Format) -> bool:
    return any(one.format == word and one.why_not is None for one in result.record.formats)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=Command, rich_help_panel=JOBS_PANEL)(download)
