"""What people upload, as the one file that the service takes."""

import contextlib
import importlib
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ddcal.conversations import Manners, document
from ddcal.errors import MissingExtraError, UploadRejectedError
from ddcal.folder_zip import zip_of_folder
from ddcal.records import DatasetRecord, JobRecord
from ddcal.steps import Ask, Steps

DATASETS = "datasets"
LOGITS = "logits"
SETS = "distilled-sets"
NETWORKS = "models"
Source = str | Path | Mapping[str, Any]
"""A file of any layout that the service knows, a folder of such files, or arrays by names."""

SetSource = Source | tuple[str | Path, str | Path]
"""A .pt, safetensors or .npz, arrays by their names, or MTT's files of images and of labels."""

_LOGITS_ARRAY = "logits_fit"


@contextlib.contextmanager
def packed(source: Source) -> Iterator[Path]:
    """The file to send; arrays and folders become one that is there as long as the context.

    Raises:
        OSError: there is no such file, or one in the folder cannot be read.
    """
    if isinstance(source, Mapping):
        with _npz_of_arrays(source) as path:
            yield path
    elif Path(source).is_dir():
        with zip_of_folder(Path(source)) as path:
            yield path
    else:
        yield Path(source)


def collection_of(path: Path) -> str:
    """Where a file goes: logits by the name of their array, everything else is images."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile:
        return DATASETS  # where the service says what is wrong with it
    return LOGITS if f"{_LOGITS_ARRAY}.npy" in names else DATASETS


def uploaded(
    path: Path, collection: str, query: Mapping[str, Any], manners: Manners
) -> Steps[DatasetRecord]:
    """Send a data set or logits; sent again if the connection breaks, it is taken once."""
    body = yield from _sent(path, collection, query, manners)
    return DatasetRecord.model_validate(body)


def uploaded_sets(path: Path, query: Mapping[str, Any], manners: Manners) -> Steps[JobRecord]:
    """Send distilled sets made elsewhere, as `uploaded` does; the job that takes them in."""
    body = yield from _sent(path, SETS, query, manners)
    return JobRecord.model_validate(body)


def _sent(
    path: Path, collection: str, query: Mapping[str, Any], manners: Manners
) -> Steps[Mapping[str, Any]]:
    given = {name: value for name, value in query.items() if value is not None}
    given["tag"] = [f"{key}:{value}" for key, value in (given.pop("tags", None) or {}).items()]
    headers = {
        "Content-Type": "application/octet-stream",
        # Without it httpx would send chunks, and the service could not refuse before they come.
        "Content-Length": str(path.stat().st_size),
    }
    ask = Ask("POST", f"/v1/{collection}", query=given, headers=headers, content=path)
    body: Mapping[str, Any] = yield from document(ask, manners)
    return body


def network_of(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file to send of a network, and what its config says of it where a folder has one.

    Args:
        source: a file, or a folder as a service gives it: config.json beside the network.

    Raises:
        UploadRejectedError: it reads whitened images.
        OSError: there is no such file.
    """
    folder = Path(source)
    if not folder.is_dir():
        return folder, {}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name, options = config["network"]["name"], dict(config["network"])
    del options["name"]
    said = {"dataset": config["dataset"], "architecture": name, **options}
    imported = config.get("imported")
    if imported is None:
        space = config["input_space"]["name"]
        if space != "standard":
            raise UploadRejectedError(f"{folder}: wanted a network of standardised images: {space}")
        numbers = {"mean": config["mean"], "std": config["std"]}
        return folder / "model.safetensors", said | {"space": "standardised"} | numbers
    said |= {"space": imported["declared_space"], "outputs": imported["outputs"]}
    said |= {"layout": imported["layout"], "side": _side(imported["input_shape"])}
    if imported["declared_space"] == "standardised":
        said |= {"mean": imported["mean"], "std": imported["std"]}
    if imported.get("columns") is not None:
        in_order = sorted(zip(imported["columns"], config["class_names"], strict=True))
        said["class_order"] = [class_name for _, class_name in in_order]
    return folder / ("model.onnx" if name == "onnx" else "model.safetensors"), said


def _side(input_shape: list[int]) -> int | None:
    _, height, width = input_shape
    return height if height == width else None


def uploaded_network(path: Path, query: Mapping[str, Any], manners: Manners) -> Steps[JobRecord]:
    """Send a network made elsewhere, as `uploaded` does; the job that tries it."""
    body = yield from _sent(path, NETWORKS, query, manners)
    return JobRecord.model_validate(body)


@contextlib.contextmanager
def packed_sets(source: SetSource) -> Iterator[Path]:
    """The file to send; two files, MTT's images and labels, become a zip.

    Raises:
        OSError: there is no such file.
    """
    if not isinstance(source, tuple | list):
        with packed(source) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="ddcal-") as folder:
        path = Path(folder) / "pair.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, file in zip(("images.pt", "labels.pt"), source, strict=True):
                archive.write(file, name)
        yield path


@contextlib.contextmanager
def _npz_of_arrays(arrays: Mapping[str, Any]) -> Iterator[Path]:
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise MissingExtraError("to upload arrays", "worker") from None
    with tempfile.TemporaryDirectory(prefix="ddcal-") as folder:
        path = Path(folder) / "arrays.npz"
        numpy.savez(path, **{name: numpy.asarray(values) for name, values in arrays.items()})
        yield path


def dataset(collection: str, name: str, manners: Manners) -> Steps[DatasetRecord]:
    """A data set, or uploaded logits, as they stand."""
    body = yield from document(Ask("GET", f"/v1/{collection}/{name}"), manners)
    return DatasetRecord.model_validate(body)


def require_usable(record: DatasetRecord) -> None:
    """Nothing for what jobs can use.

    Raises:
        UploadRejectedError: it is something else; its text says why.
    """
    if record.state == "ready":
        return
    why = record.problem.detail if record.problem else record.why_not or "it is not ready"
    raise UploadRejectedError(f"{record.name} {record.state}: {why}")
