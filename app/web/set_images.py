"""/results/ID/images: every image of a distilled set, class by class, some hundred a page.

They are those of its `webdataset` form, a tar, which is made when they are first asked for.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from app.api.exports import Asked, find_or_begin
from app.api.http.dependencies import OwnerDep, ServiceDep, checked_id
from app.shared.store.catalog import Result, find_result
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from app.web.rendering import page
from app.web.result_words import title_of
from app.web.results import PATH

router = APIRouter(prefix=PATH, include_in_schema=False)

N_IMAGES = 400
"""On a page, unless they are large."""
N_BYTES = 3_000_000
SHOWN_PIXELS = 64
EVERY_SECONDS = 1
_BLOCK = 512  # of a tar
_TYPE = "data:image/png;base64,"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an image lies in the tar.

    Attributes:
        label: of its class; of soft labels the largest.
        number: of the image, from 0.
        offset: of its PNG, in bytes.
        n_bytes: of its PNG.
    """

    label: int
    number: int
    offset: int
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class ClassShown:
    """The images of one class that a page shows: (number, address) of each."""

    name: str
    images: list[tuple[int, str]]
    n_images: int


@router.get("/{set_id}/images")
def get_images(
    request: Request,
    service: ServiceDep,
    owner_id: OwnerDep,
    set_id: str,
    first: Annotated[int, Query(alias="from", ge=0, le=10**9)] = 0,
    label: Annotated[int | None, Query(alias="class", ge=0, le=10**9)] = None,
) -> HTMLResponse:
    """The images from a place on, or from a class on; that they are being made, while they are."""
    wanted = checked_id(RESOURCES["distilled_set"].prefix, set_id)
    with service.database.read() as connection:
        result = find_result(connection, owner_id, "distilled_set", wanted)
    asked = Asked(
        service=service,
        owner_id=owner_id,
        resource="distilled_set",
        result_id=wanted,
        word="webdataset",
    )
    found = find_or_begin(asked, request.state.request_id)
    names = _names(result)
    values = {"result": result, "title": title_of(result), "names": names}
    if isinstance(found, Job):
        every = None if found.is_terminal else EVERY_SECONDS
        return page(request, service, "set_images.html", {**values, "job": found, "every": every})
    path = service.store.verified(found)
    places = places_of(path, found.sha256)
    if label is not None:
        first = next((at for at, one in enumerate(places) if one.label >= label), len(places))
    shown = _of_page(places[first:])
    values |= {
        "job": None,
        "n_images": len(places),
        "first": first,
        "next": first + len(shown) if first + len(shown) < len(places) else None,
        "classes": list(_classes(path, shown, places, names)),
        "size": _size(result),
        "asked_class": label,
    }
    return page(request, service, "set_images.html", values)


@lru_cache(maxsize=16)
def places_of(path: Path, sha256: str) -> tuple[Place, ...]:  # noqa: ARG001 - part of the key
    """Where each image of a tar lies, class by class.

    Args:
        path: of the tar.
        sha256: of its bytes, by which it is known again.
    """
    found: list[Place] = []
    picture = ("", 0, 0)
    with path.open("rb") as file:
        for name, offset, n_bytes in _members(file):
            if name.endswith(".png"):
                picture = (name, offset, n_bytes)
            elif name.endswith(".cls") and picture[0]:
                file.seek(offset)
                number = int(picture[0].removesuffix(".png"))
                label = int(file.read(n_bytes))
                place = Place(label=label, number=number, offset=picture[1], n_bytes=picture[2])
                found.append(place)
    return tuple(sorted(found, key=lambda one: (one.label, one.number)))


def _members(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each member of a tar of short names, as our export writes it.

    The standard library verifies each header's sum, which takes it seconds where there are ten
    thousand images; the file's own digest has been verified.
    """
    offset = 0
    while True:
        file.seek(offset)
        header = file.read(_BLOCK)
        name = header[:100].rstrip(b"\0").decode()
        if not name:
            return
        n_bytes = int(header[124:136].rstrip(b"\0 "), 8)
        yield name, offset + _BLOCK, n_bytes
        offset += _BLOCK + -(-n_bytes // _BLOCK) * _BLOCK


def _of_page(places: Sequence[Place]) -> list[Place]:
    """The first of them: so many, and so many bytes, but one at least."""
    shown: list[Place] = []
    n_bytes = 0
    for one in places[:N_IMAGES]:
        n_bytes += one.n_bytes
        if shown and n_bytes > N_BYTES:
            break
        shown.append(one)
    return shown


def _classes(
    path: Path, shown: Sequence[Place], places: Sequence[Place], names: Mapping[int, str]
) -> Iterator[ClassShown]:
    with path.open("rb") as file:
        for label, group in groupby(shown, key=lambda one: one.label):
            images = []
            for one in group:
                file.seek(one.offset)
                content = base64.b64encode(file.read(one.n_bytes)).decode()
                images.append((one.number, _TYPE + content))
            yield ClassShown(
                name=names.get(label, str(label)),
                images=images,
                n_images=sum(one.label == label for one in places),
            )


def _names(result: Result) -> dict[int, str]:
    return dict(enumerate(map(str, result.details.get("class_names", ()))))


def _size(result: Result) -> tuple[int, int]:
    """Height and width to show an image in: small ones are enlarged by a whole factor."""
    _, height, width = result.details.get("image_shape") or (1, SHOWN_PIXELS, SHOWN_PIXELS)
    factor = max(1, round(SHOWN_PIXELS / max(height, width)))
    return height * factor, width * factor
