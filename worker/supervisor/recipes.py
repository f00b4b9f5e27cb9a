"""The recipe of a run: a digest of all that decides its results.

It is made of the kind, the params, the inputs by content, the threads, the device, the versions of
the libraries that compute, and the sources of our modules that the kind imports. What it leaves out
decides nothing: how references are written and which ids they stand for, where files lie, how
long something has taken.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.shared.engine.recipes import Recipe

ROOT = Path(__file__).resolve().parents[2]
OUR_PACKAGES = ("worker", "ddcal_core")
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn")
# Read by the kinds beside their modules: a report's look.
PAGE_SUFFIXES = frozenset({".css", ".html"})
ID = re.compile(r"\b(?:job|exp|set|mdl|cal|rep)_[0-9a-z]{26}\b")
LEFT_OUT = frozenset({"seconds", "named_folder", "allow_downloads"})


def recipe_of(
    kind: str, params: Mapping[str, Any], inputs: Mapping[str, Any], *, threads: int, device: str
) -> Recipe:
    """The recipe of a job's results.

    Args:
        kind: of the job.
        params: as submitted, defaults filled in.
        inputs: as resolved for its trainer; a file is named by its sha256.
        threads: of the CPU, as given to the trainer.
        device: type of the device it computes on.
    """
    content = {
        "kind": kind,
        "params": _without_references(params),
        "inputs": _by_content(inputs),
        "threads": threads,
        "device": device,
        "libraries": _versions(),
        "sources": source_digest(kind),
    }
    text = json.dumps(content, sort_keys=True)
    ids = tuple(dict.fromkeys(ID.findall(text)))
    # Places instead of ids: two jobs are alike if the ids of one, put in place of the other's,
    # make its text. (Keys that are ids are sorted as such: of several sets the order may differ,
    # and then nothing is found that might have been.)
    places = {one: str(place) for place, one in enumerate(ids)}
    text = ID.sub(lambda match: f"#{places[match[0]]}", text)
    return Recipe(digest=hashlib.sha256(text.encode()).hexdigest(), ids=ids)


def with_ids_replaced(text: str, new_ids: Mapping[str, str]) -> str:
    """A text with every id replaced that is among those to be."""
    return ID.sub(lambda match: new_ids.get(match[0], match[0]), text)


@cache
def source_digest(kind: str) -> str:
    """sha256 of the trainer's source and of those that a kind's module imports, however indirectly.

    Read once a process, without importing anything: the supervisor stays free of torch.
    """
    paths = {ROOT / "worker/trainer/trainer.py"}
    waiting = [ROOT / "worker/trainer/kinds" / f"{kind}.py"]
    while waiting:
        path = waiting.pop()
        if path not in paths:
            paths.add(path)
            waiting += _imports_of(path)
    paths |= {
        page
        for folder in {path.parent for path in paths}
        for page in folder.iterdir()
        if page.suffix in PAGE_SUFFIXES
    }
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _imports_of(path: Path) -> tuple[Path, ...]:
    """Files of our modules that a module imports, wherever in it."""
    names = _imported_names(ast.parse(path.read_bytes()))
    return tuple(file for name in names if (file := _file_of(name)) is not None)


def _imported_names(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if _file_of(inside) else node.module


def _file_of(module: str) -> Path | None:
    """Where a module of ours lies; None for what is none."""
    if module.partition(".")[0] not in OUR_PACKAGES:
        return None
    place = ROOT.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.exists()), None)


@cache
def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # one that no kind of this installation computes with
        return None


def _without_references(value: object) -> object:
    """A value without the ids in it: what they stand for is among the inputs."""
    if isinstance(value, Mapping):
        return {key: _without_references(item) for key, item in value.items() if not _is_id(item)}
    if isinstance(value, list):
        return [_without_references(item) for item in value if not _is_id(item)]
    return value


def _is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _by_content(value: object, key: str = "") -> object:
    """A value with its files named by their sha256, without what decides nothing."""
    if isinstance(value, Mapping):
        return {
            name: _by_content(item, name) for name, item in value.items() if name not in LEFT_OUT
        }
    if isinstance(value, list):
        return [_by_content(item) for item in value]
    if isinstance(value, str) and (key == "path" or key.endswith("_path")):
        return Path(value).name
    return value
