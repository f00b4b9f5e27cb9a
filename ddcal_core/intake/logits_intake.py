"""A user's file of logits -> checked tensors and what is known of them (numpy; no torch).

What can be told only from the numbers is told here: that they are finite, that they are no
probabilities, that labels are classes. What a temperature makes of them (all predictions right,
constant logits) is no fault of the file: those are statuses of the fit.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.npz_arrays import (
    count_labels,
    open_npz,
    read_class_names,
    read_labels,
    row_chunks,
    safetensors_header,
)
from ddcal_core.intake.structure.logits_structure import LogitsStructure, inspect_logits
from ddcal_core.specs.logits import LogitsFacts

# Generous: probabilities in half precision over a thousand classes stray so far from summing to 1.
PROBABILITY_TOLERANCE = 1e-2


@dataclass(frozen=True)
class LogitsIntake:
    """Logits taken in.

    Attributes:
        facts: classes, counts, dtype.
        paths: fit.safetensors and, where test rows were sent, test.safetensors, each with logits
            float32 or float64 (N, K) and labels int64 (N,).
    """

    facts: LogitsFacts
    paths: tuple[Path, ...]


def take_in_logits(upload: Path, folder: Path, max_decoded_bytes: int) -> LogitsIntake:
    """Check uploaded logits, content included, and write them as tensors.

    Args:
        upload: the .npz (see logits_structure).
        folder: an existing folder for the tensors.
        max_decoded_bytes: largest total size after decoding.

    Raises:
        InvalidDataError: they cannot be used; says what was wanted and what was got.
    """
    structure = inspect_logits(upload, max_decoded_bytes)
    with open_npz(upload) as archive:
        names = tuple(str(k) for k in range(structure.n_classes))
        if "class_names" in structure.headers:
            names = read_class_names(archive)
        labels = {
            part: read_labels(archive, f"labels_{part}", n_classes=structure.n_classes)
            for part in structure.parts
        }
        counts = {part: _count(part, labels[part], names) for part in structure.parts}
        paths = {part: folder / f"{part}.safetensors" for part in structure.parts}
        digests = [
            _write_part(archive, structure, part, labels[part], path)
            for part, path in paths.items()
        ]
    if len(set(digests)) < len(digests):
        raise InvalidDataError(
            "logits_test: wanted rows that nothing was fitted on; got the very rows of logits_fit "
            "(leave out logits_test and labels_test to measure on the rows fitted on)"
        )
    facts = LogitsFacts(
        class_names=names,
        fit_class_counts=counts["fit"],
        test_class_counts=counts.get("test", ()),
        dtype="float32" if _tensor_dtype(structure) == "F32" else "float64",
    )
    return LogitsIntake(facts, tuple(paths.values()))


def _count(part: str, labels: NDArray[np.int64], names: tuple[str, ...]) -> tuple[int, ...]:
    counts = count_labels(f"labels_{part}", labels, n_classes=len(names))
    if max(counts) == len(labels):
        raise InvalidDataError(
            f"labels_{part}: wanted labels of at least 2 classes; every one of the {len(labels):,} "
            f"is {int(labels[0])}"
        )
    return counts


def _tensor_dtype(structure: LogitsStructure) -> str:
    """One width for both parts, the wider one, so that neither loses a digit."""
    is_wide = any(structure.headers[f"logits_{part}"].dtype[-1] == "8" for part in structure.parts)
    return "F64" if is_wide else "F32"


def _write_part(
    archive: zipfile.ZipFile,
    structure: LogitsStructure,
    part: str,
    labels: NDArray[np.int64],
    path: Path,
) -> bytes:
    """Write one part as safetensors, logits a chunk at a time; give a digest of what was written.

    Labels come first: they need alignment.
    """
    key = f"logits_{part}"
    header = structure.headers[key]
    dtype = _tensor_dtype(structure)
    digest = hashlib.sha256()
    n_seen, are_probabilities = 0, True
    with path.open("wb") as file:
        file.write(
            safetensors_header({"labels": ("I64", labels.shape), "logits": (dtype, header.shape)})
        )
        file.write(labels.astype("<i8").tobytes())
        for rows in row_chunks(archive, header, key):
            _check_finite(key, rows, n_seen)
            n_seen += len(rows)
            are_probabilities = are_probabilities and _look_like_probabilities(rows)
            written = rows.astype("<f4" if dtype == "F32" else "<f8").tobytes()
            file.write(written)
            digest.update(written)
    if are_probabilities:
        raise InvalidDataError(
            f"{key}: wanted logits, the network's output before the softmax (or log "
            f"probabilities); got what looks like probabilities: all of its {n_seen:,} rows are in "
            "[0, 1] and sum to 1"
        )
    return digest.digest()


def _check_finite(key: str, rows: NDArray[np.floating], n_before: int) -> None:
    is_finite = np.isfinite(rows)
    if is_finite.all():
        return
    row, column = (int(index) for index in np.argwhere(~is_finite)[0])
    raise InvalidDataError(
        f"{key}: wanted finite numbers; got {rows[row, column]} in row {n_before + row}, "
        f"column {column}"
    )


def _look_like_probabilities(rows: NDArray[np.floating]) -> bool:
    if rows.min() < 0 or rows.max() > 1 + PROBABILITY_TOLERANCE:
        return False
    sums = rows.sum(1, dtype=np.float64)
    return bool(np.abs(sums - 1).max() <= PROBABILITY_TOLERANCE)
