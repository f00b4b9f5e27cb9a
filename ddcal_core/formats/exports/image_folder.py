"""A distilled set as a zip of PNGs in one folder a class, as torchvision's ImageFolder reads it."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.csv_cells import safe_cell
from ddcal_core.formats.exports.archives import write_zip
from ddcal_core.formats.exports.exported_set import ExportedSet
from ddcal_core.formats.pictures import image_png

# What some system takes for more than a name: separators, wildcards, what is not printed.
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
FOLDER = "train"


def write_image_folder(path: Path, exported: ExportedSet) -> None:
    """Write train/CLASS/NUMBER.png and labels.csv, which has each file's label.

    Readers number folders in the order of their names, and so give each image the label that it
    has here, which labels.csv says as well.

    Args:
        path: of the zip.
        exported: with hard labels.

    Raises:
        InvalidDataError: its labels are soft: a folder is one class.
    """
    if exported.stored.soft_labels is not None:
        raise InvalidDataError("wanted hard labels for folders of classes; got soft ones")
    write_zip(path, _members(exported))


def _members(exported: ExportedSet) -> Iterator[tuple[str, bytes]]:
    names = exported.manifest.class_names
    folders = class_folders(names)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("file", "label", "class_name"))
    for number, (pixels, label) in enumerate(zip(exported.pixels, exported.labels, strict=True)):
        file = f"{FOLDER}/{folders[label]}/{number:06}.png"
        rows.writerow((file, label, safe_cell(names[label])))
        yield file, image_png(pixels)
    yield "labels.csv", table.getvalue().encode()


def class_folders(names: Sequence[str]) -> list[str]:
    """Give each class a folder that any file system takes, no two the same, sorted as the classes.

    Where their names would be in another order they begin with the label: 0_shirt, 1_dress.
    """
    folders = _plain_folders(names)
    if sorted(folders) == folders:
        return folders
    n_digits = len(str(len(names) - 1))
    return [f"{label:0{n_digits}}_{folder}" for label, folder in enumerate(folders)]


def _plain_folders(names: Sequence[str]) -> list[str]:
    folders: list[str] = []
    taken: set[str] = set()
    for label, name in enumerate(names):
        folder = _NOT_IN_NAMES.sub("_", name).strip(" .")[:100] or str(label)
        if folder.casefold() in taken:
            folder = f"{folder}_{label}"
        taken.add(folder.casefold())
        folders.append(folder)
    return folders
