"""A distilled set as a folder that Hugging Face's `datasets` loads: a card and a parquet file."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ddcal_core.formats.exports.archives import write_zip
from ddcal_core.formats.exports.exported_set import ExportedSet
from ddcal_core.formats.exports.set_card import set_card
from ddcal_core.formats.pictures import image_png

PARQUET_FILE = "data/train-00000-of-00001.parquet"


def write_hugging_face(path: Path, exported: ExportedSet) -> None:
    """Write a zip of README.md and of one row per image, as the split `train`.

    `image` is the picture, `label` its class, `pixel_values` the image exactly, float32 (C, H, W)
    in network-input space, and `soft_label` a probability of each class where labels are soft.
    """
    files = [{"split": "train", "path": PARQUET_FILE}]
    card = set_card(exported, {"configs": [{"config_name": "default", "data_files": files}]})
    write_zip(path, [("README.md", card.text().encode()), (PARQUET_FILE, _parquet(exported))])


def features(exported: ExportedSet) -> dict[str, dict[str, Any]]:
    """Give the columns in the words of `datasets.Features`."""
    found: dict[str, dict[str, Any]] = {
        "image": {"_type": "Image"},
        "label": {"names": list(exported.manifest.class_names), "_type": "ClassLabel"},
        "pixel_values": {
            "shape": list(exported.manifest.image_shape),
            "dtype": "float32",
            "_type": "Array3D",
        },
    }
    if exported.stored.soft_labels is not None:
        found["soft_label"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}
    return found


def _nested(values: NDArray[np.float32]) -> pa.Array:
    """Give an array (N, ...) as a column of N nested lists, without a Python number for each."""
    column = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        offsets = np.arange(0, len(column) + 1, size, dtype=np.int32)
        column = pa.ListArray.from_arrays(offsets, column)
    return column


def _parquet(exported: ExportedSet) -> bytes:
    pictures = [{"bytes": image_png(one), "path": None} for one in exported.pixels]
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {
        "image": pa.array(pictures, picture),
        "label": pa.array(exported.labels, pa.int64()),
        "pixel_values": _nested(exported.stored.images.numpy()),
    }
    if exported.stored.soft_labels is not None:
        columns["soft_label"] = _nested(exported.stored.soft_labels.numpy())
    # By this `datasets` knows a picture from a struct, and a class from a number.
    known = json.dumps({"info": {"features": features(exported)}}, ensure_ascii=False)
    table = pa.table(columns).replace_schema_metadata({"huggingface": known})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy")
    return buffer.getvalue()
