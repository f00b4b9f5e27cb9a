"""torchvision's readers, for studies that read as users do."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# torchvision's wheel does not load beside a torch for the CPU alone, unless this comes first.
from ddcal_core.data.torchvision_readers import datasets


def image_folder(folder: Path) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Grey images uint8 (N, H, W) and labels (N,) of an unpacked ImageFolder, in the set's order.

    Args:
        folder: with train/ and labels.csv.
    """
    read = datasets.ImageFolder(str(folder / "train"))
    places = {
        Path(file).relative_to(folder).as_posix(): n for n, (file, _) in enumerate(read.samples)
    }
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Numbers of folders are those of labels here: names of digits are in order.
    found = [read[places[row["file"]]] for row in rows]
    assert [label for _, label in found] == [int(row["label"]) for row in rows]
    pixels = np.stack([np.asarray(picture)[:, :, 0] for picture, _ in found])
    return pixels, np.array([label for _, label in found], np.int64)
