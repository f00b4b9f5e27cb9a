"""Distilled sets that come with the package: made at published budgets, with their evidence.

    import ddcal

    shelved = ddcal.load_set("dc-fashion-mnist-ipc1")
    print(shelved.card)
    images = ddcal.torch.load_set(shelved.path)  # needs torch

The base install gives card, manifest and path.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ddcal.errors import DamagedDownloadError

_FOLDER = Path(__file__).parent
_SET_FILE, _MANIFEST_FILE, _CARD_FILE = "distilled_set.safetensors", "manifest.json", "README.md"


@dataclass(frozen=True, kw_only=True)
class ShelvedSet:
    """A distilled set of the shelf.

    Attributes:
        name: by which it is loaded.
        title: what it is, in a line.
        licence: of the images, by its SPDX id.
        source: of the images that it was distilled from.
        path: folder with distilled_set.safetensors, manifest.json, README.md and preview.png, as
            `ddcal.torch.load_set` reads it.
        manifest: how it was made.
        card: the same for people, with what networks trained on it reach, as Markdown.
    """

    name: str
    title: str
    licence: str
    source: str
    path: Path
    manifest: Mapping[str, Any] = field(repr=False)
    card: str = field(repr=False)


def set_names() -> tuple[str, ...]:
    """The names of the sets on the shelf."""
    return tuple(_index())


def load_set(name: str) -> ShelvedSet:
    """A set of the shelf, its bytes verified.

    Args:
        name: one of `set_names()`.

    Raises:
        KeyError: there is none of this name.
        DamagedDownloadError: its file has other bytes than were shelved.
    """
    if name not in _index():
        raise KeyError(f"wanted one of {', '.join(set_names())}; got {name!r}")
    told = dict(_index()[name])
    folder = _FOLDER / name
    wanted = told.pop("sha256")
    if hashlib.sha256((folder / _SET_FILE).read_bytes()).hexdigest() != wanted:
        raise DamagedDownloadError(f"{folder / _SET_FILE} is damaged: install ddcal again")
    manifest = json.loads((folder / _MANIFEST_FILE).read_text(encoding="utf-8"))
    card = (folder / _CARD_FILE).read_text(encoding="utf-8")
    return ShelvedSet(name=name, path=folder, manifest=manifest, card=card, **told)


@cache
def _index() -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(
        (_FOLDER / "index.json").read_text(encoding="utf-8")
    )
    return found
