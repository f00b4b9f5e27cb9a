"""A distilled set as one shard of a WebDataset."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ddcal_core.formats.exports.archives import write_tar
from ddcal_core.formats.exports.exported_set import ExportedSet
from ddcal_core.formats.pictures import image_png


def write_webdataset(path: Path, exported: ExportedSet) -> None:
    """Write of each image NUMBER.png, .npy, .cls and .json, in this order.

    .png is the picture, uint8; .npy the image exactly, float32 (C, H, W) in network-input space;
    .cls its label; .json its class name, and the soft label where there is one.
    """
    write_tar(path, _members(exported))


def _members(exported: ExportedSet) -> Iterator[tuple[str, bytes]]:
    stored, names = exported.stored, exported.manifest.class_names
    for number, label in enumerate(exported.labels):
        key = f"{number:06}"
        said: dict[str, object] = {"class_name": names[label]}
        if stored.soft_labels is not None:
            said["soft_label"] = stored.soft_labels[number].tolist()
        array = io.BytesIO()
        np.save(array, stored.images[number].numpy(), allow_pickle=False)
        yield f"{key}.png", image_png(exported.pixels[number])
        yield f"{key}.npy", array.getvalue()
        yield f"{key}.cls", str(label).encode()
        yield f"{key}.json", json.dumps(said, ensure_ascii=False).encode()
