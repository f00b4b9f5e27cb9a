"""The recipe of a run: a digest of all that decides its results.

It is made of the kind, the params, the inputs by content, the threads, the device, the versions of
the libraries that compute, and the code of our modules that the computation imports. What it leaves
out decides nothing: comments, docstrings and the descriptions of fields, how references are written
and which ids they stand for, where files lie, how long something has taken.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.shared.engine.recipes import Recipe
from app.shared.store.kinds import ID_PREFIXES, INTAKE, import_computation

ROOT = Path(__file__).resolve().parents[2]
OUR_PACKAGES = ("worker", "ddcal_core")
# Of what a digest is made of, and how; digests of other versions never match.
RECIPE_VERSION = 2
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "onnx", "onnxruntime")
# Read by the kinds beside their modules: a report's look.
PAGE_SUFFIXES = frozenset({".css", ".html"})
ID = re.compile(rf"\b(?:{'|'.join(ID_PREFIXES)})_[0-9a-z]{{26}}\b")
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
        "version": RECIPE_VERSION,
        "kind": kind,
        "params": _without_references(params),
        "inputs": _by_content(inputs),
        "threads": threads,
        "device": device,
        "libraries": _versions(),
        "sources": source_digest(computation_of(kind, params)),
    }
    text = json.dumps(content, sort_keys=True)
    ids = tuple(dict.fromkeys(ID.findall(text)))
    # Places instead of ids: two jobs are alike if the ids of one, put in place of the other's,
    # make its text. (Keys that are ids are sorted as such: of several sets the order may differ,
    # and then nothing is found that might have been.)
    places = {one: str(place) for place, one in enumerate(ids)}
    text = ID.sub(lambda match: f"#{places[match[0]]}", text)
    return Recipe(digest=hashlib.sha256(text.encode()).hexdigest(), ids=ids)


def computation_of(kind: str, params: Mapping[str, Any]) -> str:
    """The module of worker.trainer.kinds that computes a job; of the check of data, none."""
    if kind == INTAKE:
        content, options = params.get("content", "images"), params.get("options", {})
        return import_computation(content, options) or kind
    return "calibrate_logits" if kind == "calibrate" and "logits" in params else kind


def with_ids_replaced(text: str, new_ids: Mapping[str, str]) -> str:
    """A text with every id replaced that is among those to be."""
    return ID.sub(lambda match: new_ids.get(match[0], match[0]), text)


@cache
def source_digest(computation: str) -> str:
    """sha256 of the trainer's code and of what a computation's module imports, however indirectly.

    Read once a process, without importing anything: the supervisor stays free of torch.
    """
    paths = {ROOT / "worker/trainer/trainer.py"}
    waiting = [ROOT / "worker/trainer/kinds" / f"{computation}.py"]
    while waiting:
        path = waiting.pop()
        if path not in paths:
            paths.add(path)
            waiting += read_source(path).imports
    pages = {
        page
        for folder in {path.parent for path in paths}
        for page in folder.iterdir()
        if page.suffix in PAGE_SUFFIXES
    }
    digest = hashlib.sha256()
    for path in sorted(paths | pages):
        content = path.read_bytes() if path in pages else read_source(path).code
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a module of ours is to a recipe.

    Attributes:
        code: what it does, without the words that explain it.
        imports: the files of our modules that it imports, wherever in it.
    """

    code: bytes
    imports: tuple[Path, ...]


def read_source(path: Path) -> Source:
    """Read a module; what is in it is looked at once a process."""
    code, imported = _looked_at(path.read_bytes())
    files = (_file_of(inside) or _file_of(module) for module, inside in imported)
    return Source(code=code, imports=tuple(file for file in files if file is not None))


@cache
def _looked_at(text: bytes) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    module = ast.parse(text)
    names = tuple(_imported_names(module))
    return ast.dump(_WithoutWords().visit(module)).encode(), names


class _WithoutWords(ast.NodeTransformer):
    """Takes out of a module what explains it: docstrings, and descriptions of fields."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """A string that stands alone, as docstrings do, does nothing."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """What pydantic's Field says to readers of the API's document."""
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [word for word in node.keywords if word.arg != "description"]
        self.generic_visit(node)
        return node


def _imported_names(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Each import's module, and what it takes from it as if that were a module, too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, f"{node.module}.{alias.name}") for alias in node.names)


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
