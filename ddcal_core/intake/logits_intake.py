"""A user's file of logits -> checked tensors and what is known of them (numpy; no torch).

What can be told only from the numbers is told here: that they are finite, that they are no
probabilities, that labels are classes, that test rows were not fitted on. What a temperature makes
of them (all predictions right, constant logits) is no fault of the file: those are statuses of the
fit.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.logits_notes import (
    LabelTally,
    absent_classes_note,
    accuracy_note,
    far_labels_note,
    shared_note,
)
from ddcal_core.intake.npz_arrays import (
    count_labels,
    open_npz,
    read_class_names,
    read_labels,
    row_chunks,
    safetensors_header,
)
from ddcal_core.intake.repeats import RowDigests, Shared, shared_rows
from ddcal_core.intake.structure.logit_values import undeclared_values
from ddcal_core.intake.structure.logits_structure import LogitsStructure, inspect_logits
from ddcal_core.specs.logits import LogitsFacts, LogitsOptions

# Generous: probabilities in half precision over a thousand classes stray so far from summing to 1.
PROBABILITY_TOLERANCE = 1e-2

_LARGEST_FLOOR = 0.01  # of a row's sum, over K: what zeros may add to a row in all
_NEGATIVE_TOLERANCE = 1e-6  # of the largest number; probabilities may have rounded below 0


@dataclass(frozen=True)
class LogitsIntake:
    """Logits taken in.

    Attributes:
        facts: classes, counts, dtype, and what is odd.
        paths: fit.safetensors and, where test rows were sent, test.safetensors, each with logits
            float32 or float64 (N, K) and labels int64 (N,).
    """

    facts: LogitsFacts
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class _Part:
    """What was seen of one part's rows while they were written."""

    tally: LabelTally
    digests: RowDigests = field(default_factory=RowDigests)
    empty_rows: list[int] = field(default_factory=list)


def take_in_logits(
    upload: Path, folder: Path, max_decoded_bytes: int, options: LogitsOptions | None = None
) -> LogitsIntake:
    """Check uploaded logits, content included, and write them as tensors.

    Args:
        upload: the .npz (see logits_structure).
        folder: an existing folder for the tensors.
        max_decoded_bytes: largest total size after decoding.
        options: what the numbers are; where that is not said they must not look like
            probabilities.

    Raises:
        InvalidDataError: they cannot be used; says what was wanted and what was got.
    """
    options = options or LogitsOptions()
    structure = inspect_logits(upload, max_decoded_bytes)
    detail = undeclared_values(upload, structure) if options.values is None else None
    if detail is not None:
        raise InvalidDataError(detail)
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
        parts = {
            part: _write_part(archive, structure, part, labels[part], path, options)
            for part, path in paths.items()
        }
    shared = _shared(parts)
    facts = LogitsFacts(
        class_names=names,
        fit_class_counts=counts["fit"],
        test_class_counts=counts.get("test", ()),
        dtype="float32" if _tensor_dtype(structure) == "F32" else "float64",
        values=options.values or "logits",
        n_test_in_fit=shared.n,
        notes=_notes(parts, counts, names, shared),
    )
    return LogitsIntake(facts, tuple(paths.values()))


def _shared(parts: dict[str, _Part]) -> Shared:
    if "test" not in parts:
        return Shared(0, is_all=False, may_be_chance=False)
    shared = shared_rows(parts["fit"].digests, parts["test"].digests)
    if shared.is_all and not shared.may_be_chance:
        raise InvalidDataError(
            "logits_test: wanted rows that nothing was fitted on; every one of its "
            f"{shared.n:,} rows also stands in logits_fit, in whatever order (leave out "
            "logits_test and labels_test to measure on the rows fitted on)"
        )
    return shared


def _notes(
    parts: dict[str, _Part],
    counts: dict[str, tuple[int, ...]],
    names: tuple[str, ...],
    shared: Shared,
) -> tuple[str, ...]:
    found = [
        *(accuracy_note(part, seen.tally, names) for part, seen in parts.items()),
        *(far_labels_note(part, seen.tally) for part, seen in parts.items()),
        absent_classes_note("fit", counts["fit"], names),
        shared_note(shared, sum(counts.get("test", ()))),
        *(_empty_note(part, seen.empty_rows) for part, seen in parts.items()),
    ]
    return tuple(note for note in found if note is not None)


def _empty_note(part: str, rows: list[int]) -> str | None:
    if not rows:
        return None
    some = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    return (
        f"All zeros in logits_{part}: {len(rows):,} (row {some}). That is no "
        "distribution; they were taken as 1 / K for every class. Leave them out if they hold no "
        "prediction."
    )


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
    options: LogitsOptions,
) -> _Part:
    """Write one part as safetensors, a chunk at a time; labels first: they need alignment."""
    key = f"logits_{part}"
    shape, dtype = structure.headers[key].shape, _tensor_dtype(structure)
    seen = _Part(LabelTally(structure.n_classes))
    n_seen, are_probabilities = 0, True
    rows_of = _probabilities_as_logits if options.values == "probabilities" else _finite_rows
    with path.open("wb") as file:
        file.write(safetensors_header({"labels": ("I64", labels.shape), "logits": (dtype, shape)}))
        file.write(labels.astype("<i8").tobytes())
        for rows in rows_of(archive, structure, key, seen):
            are_probabilities = are_probabilities and _look_like_probabilities(rows)
            # Adding 0 makes -0 and 0 one number, so that equal rows have equal bytes.
            kept = rows.astype("<f4" if dtype == "F32" else "<f8") + 0
            written = kept.tobytes()
            file.write(written)
            seen.digests.add(written, len(written) // len(rows))
            seen.tally.add(kept, labels[n_seen : n_seen + len(rows)])
            n_seen += len(rows)
    if are_probabilities:
        raise InvalidDataError(
            f"{key}: wanted logits, the network's output before the softmax (or log "
            f"probabilities); got what looks like probabilities: all of its {n_seen:,} rows are in "
            "[0, 1] and sum to 1 (add values=probabilities to have their logarithms taken)"
        )
    return seen


def _finite_rows(
    archive: zipfile.ZipFile, structure: LogitsStructure, key: str, _seen: _Part
) -> Iterator[NDArray[np.floating]]:
    n_before = 0
    for rows in row_chunks(archive, structure.headers[key], key):
        _check_finite(key, rows, n_before)
        n_before += len(rows)
        yield rows


def _probabilities_as_logits(
    archive: zipfile.ZipFile, structure: LogitsStructure, key: str, seen: _Part
) -> Iterator[NDArray[np.floating]]:
    """Logarithms of the rows, which softmax divides by their sum whatever that is."""
    smallest = min(
        (float(rows[rows > 0].min()) for rows in _finite_rows(archive, structure, key, seen)
         if (rows > 0).any()), default=1.0,
    )  # fmt: skip
    n_before = 0
    for rows in _finite_rows(archive, structure, key, seen):
        wide = rows.astype(np.float64)
        if wide.min() < -_NEGATIVE_TOLERANCE * max(wide.max(), 0.0):
            raise InvalidDataError(
                f"{key}: wanted probabilities, numbers from 0 on, as values=probabilities says; "
                f"got {wide.min():g}"
            )
        wide = wide.clip(min=0)
        is_empty = wide.max(1) == 0
        seen.empty_rows.extend((n_before + np.flatnonzero(is_empty)).tolist())
        wide[is_empty] = 1.0
        largest_floor = _LARGEST_FLOOR / structure.n_classes * wide.sum(1, keepdims=True)
        floor = np.minimum(smallest / 2, largest_floor)
        yield np.log(np.where(wide > 0, wide, floor))
        n_before += len(rows)


def _check_finite(key: str, rows: NDArray[np.floating], n_before: int) -> None:
    is_finite = np.isfinite(rows)
    if is_finite.all():
        return
    row, column = (int(index) for index in np.argwhere(~is_finite)[0])
    advice = "leave such rows out"
    if np.isneginf(rows[row, column]):
        advice = "write -1e9 for a masked class; for the log of 0 take log_softmax of the logits"
    raise InvalidDataError(
        f"{key}: wanted finite numbers; got {rows[row, column]} in row {n_before + row}, "
        f"column {column} ({advice})"
    )


def _look_like_probabilities(rows: NDArray[np.floating]) -> bool:
    if rows.min() < 0 or rows.max() > 1 + PROBABILITY_TOLERANCE:
        return False
    sums = rows.sum(1, dtype=np.float64)
    return bool(np.abs(sums - 1).max() <= PROBABILITY_TOLERANCE)
