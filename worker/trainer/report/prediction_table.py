"""Every prediction on test under every calibration, as a CSV that people's own tools can read."""

import contextlib
import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from torch import Tensor

from ddcal_core.formats.csv_cells import safe_cell
from worker.trainer.report.measurements import Predictions
from worker.trainer.report.rows import Measured
from worker.trainer.report.training_sets import TrainingSet

PREDICTIONS = "predictions.csv.gz"
COLUMNS = (
    "calibration_id", "model_id", "training_set", "calibration", "seed_index", "image", "label",
    "label_name", "prediction", "prediction_name", "confidence", "correct",
)  # fmt: skip


def write_predictions(
    path: Path,
    groups: Sequence[TrainingSet],
    measured: Sequence[tuple[Measured, Predictions]],
    *,
    labels: Tensor,
    class_names: Sequence[str],
) -> None:
    """Write one row per network, calibration and test image.

    Args:
        path: of the CSV, UTF-8 with a header, compressed: it repeats itself in every line.
        groups: the training sets, for their names.
        measured: each network under each calibration, with its predictions.
        labels: int64 (N,), of the test images in order.
        class_names: of label 0, 1, ...
    """
    set_names = {model.id: group.label for group in groups for model in group.models}
    names = [safe_cell(name) for name in class_names]
    label_list = labels.tolist()
    with _compressed(path) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one, predictions in measured:
            head = _head(one, set_names)
            writer.writerows(
                (*head, image, label, names[label], predicted, names[predicted],
                 # Nine digits tell all float32 numbers apart.
                 f"{confidence:.9g}", int(label == predicted))
                for image, (label, predicted, confidence) in enumerate(
                    zip(label_list, predictions.predicted.tolist(),
                        predictions.confidence.tolist(), strict=True)
                )
            )  # fmt: skip


@contextlib.contextmanager
def _compressed(path: Path) -> Iterator[TextIO]:
    """Open a gzip file for text; without name and time in it, equal text gives equal bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
    ):
        yield file


def _plain(words: str) -> str:
    """Give our own words without the narrow spaces that they have on the page."""
    return safe_cell(words.replace("\u202f", " "))


def _head(one: Measured, set_names: Mapping[str, str]) -> tuple[str, str, str, str, int | None]:
    return (
        one.calibration_id or "",
        one.model.id,
        _plain(set_names[one.model.id]),
        _plain(one.label),
        one.model.seed_index,
    )
