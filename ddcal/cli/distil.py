"""`ddcal distil`: from images to a calibrated network and its report, in one command."""

import hashlib
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcal.cli.data import Coloured, Resize, Seed, TestFraction, given
from ddcal.cli.descriptions import JobName, Notes, Tags, description, tags_of
from ddcal.cli.edge import FAILED, AsJson, Command, client_of
from ddcal.cli.jobs import show_in_browser
from ddcal.cli.output import complain, print_json, print_report, say
from ddcal.cli.watching import watched_from_afar
from ddcal.client import Client
from ddcal.downloads import REPORT_PAGE
from ddcal.errors import ConflictError, NotFoundError
from ddcal.uploading import packed

_OF_A_PATH = re.compile(r"[/\\]|[.](npz|zip|tar|tgz|gz|parquet|arrow|mat)$")
_MOST_LETTERS = 64
_CHUNK_BYTES = 1 << 20


class Method(StrEnum):
    """How images are distilled."""

    dm = "dm"
    dc = "dc"
    dsa = "dsa"
    mtt = "mtt"
    rtp = "rtp"


Ipc = Annotated[int, typer.Option(min=1, metavar="N", help="Synthetic images per class.")]
Mask = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Mask this share of pixels (MDT), such as 0.3."
    ),
]
UploadName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name the upload (default: the file's).")
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Write the results to it (default: NAME-IPC).")
]


def distil(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER|NAME",
            help="Images as ddcal upload takes them, or the name of a data set there is.",
        ),
    ],
    ipc: Ipc = 10,
    method: Annotated[Method, typer.Option(help="How to distil them.")] = Method.dm,
    mask: Mask = None,
    name: JobName = None,
    tags: Tags = None,
    notes: Notes = None,
    dataset: UploadName = None,
    resize: Resize = None,
    colour: Coloured = None,
    test_fraction: TestFraction = None,
    seed: Seed = None,
    out: Out = None,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in the browser.")
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Distil images, train on them, calibrate, and report: from upload to download."""
    options = given(resize=resize, colour=colour, test_fraction=test_fraction, seed=seed)
    with client_of(context) as client:
        if Path(source).exists():
            dataset = dataset or name_of(Path(source))
            _upload(client, dataset, Path(source), {**options, "tags": tags_of(tags)})
        elif _OF_A_PATH.search(source) or not _is_dataset(client, source):
            complain(f"there is no file, folder or data set {source} (ddcal datasets lists them)")
            return FAILED
        else:
            dataset = source
        said = description(name, tags, notes)
        job = client.submit(pipeline(dataset, ipc, method, mask), **said)
        say(f"submitted {job.id}: distil, train, calibrate and evaluate on {dataset}")
        if not watched_from_afar(job):
            return FAILED
        folder = out or Path(f"{dataset}-{ipc}")
        report, written = job.report, job.download(folder)
    page = next((path for path in written if path.name == REPORT_PAGE), None)
    if as_json:
        print_json({"job": job.record, "report": report, "files": written})
        return 0
    print_report(report)
    print(f"\n{len(written)} files in {folder.resolve()}")
    if page is not None:
        print(f"report: {page.resolve()}")
        if browser:
            show_in_browser(page)
    return 0


def pipeline(dataset: str, ipc: int, method: str, mask: float | None) -> dict[str, Any]:
    """The request: what people want to know of a distilled set, with random images beside it."""
    distillation: dict[str, Any] = {"method": method, "images_per_class": ipc}
    if mask is not None:
        distillation["mask"] = {"ratio": mask}
    return {
        "kind": "pipeline",
        "params": {
            "dataset": dataset,
            "distill": distillation,
            "baselines": [{"source": "random"}],
            "calibrate": [
                {"method": "none"},
                {"method": "ts", "fit_on": "validation"},
                {"method": "mts", "fit_on": "training_set", "mask": {"ratio": "auto"}},
            ],
        },
    }


def _is_dataset(client: Client, name: str) -> bool:
    try:
        client.dataset(name)
    except NotFoundError:
        return False
    return True


def name_of(path: Path) -> str:
    """A data set's name made of a file's: letters, digits, dots, dashes and underscores."""
    stem = path.resolve().name if path.is_dir() else path.stem
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-._")
    return words[:_MOST_LETTERS] or "images"


def _upload(client: Client, name: str, source: Path, options: dict[str, Any]) -> None:
    """Upload images and wait until they have been checked; the same again are not sent twice."""
    with packed(source) as path:
        try:
            dataset = client.upload(name, path, **options)
        except ConflictError as error:
            dataset = client.dataset(name)
            if dataset.record.sha256 != _sha256(path):
                raise ConflictError(
                    error.status,
                    error.code,
                    f"there is another data set {name!r} already: name this one by --dataset",
                ) from None
            say(f"{name} is there already, with the same content")
        else:
            say(f"uploaded {name}")
    dataset.wait(progress=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(cls=Command, rich_help_panel="Start here")(distil)
