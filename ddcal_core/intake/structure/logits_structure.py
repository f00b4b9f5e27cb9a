"""The structure of uploaded logits, read without decoding a number (standard library only).

A zip of .npy files: logits_fit (N, K) and labels_fit (N,) or (N, 1) to fit on; optionally
logits_test and labels_test to measure on, and class_names.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.class_rules import MAX_CLASSES
from ddcal_core.intake.structure.npz_headers import (
    BOOL_DTYPE,
    INTEGER_DTYPE,
    NpyHeader,
    read_headers,
)
from ddcal_core.intake.structure.npz_structure import (
    check_class_names,
    dtype_advice,
    shape_advice,
)

REQUIRED_KEYS = ("logits_fit", "labels_fit")
OPTIONAL_KEYS = ("logits_test", "labels_test", "class_names")
MIN_ROWS = 2

_LOGITS_DTYPE = re.compile(r"[<>=|]?f[248]")


@dataclass(frozen=True)
class LogitsStructure:
    """What a well-formed file of logits declares.

    Attributes:
        n_classes: K, 2 to 1,000.
        headers: the header of each member, by key ("logits_fit").
    """

    n_classes: int
    headers: dict[str, NpyHeader]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are there: fit, and test where it was sent."""
        return tuple(part for part in ("fit", "test") if f"logits_{part}" in self.headers)


def inspect_logits(path: Path, max_decoded_bytes: int) -> LogitsStructure:
    """Check a file of logits by its zip directory and .npy headers alone.

    Args:
        path: the file.
        max_decoded_bytes: largest total size after decoding.

    Returns:
        What the file declares; the data behind it is not looked at.

    Raises:
        InvalidDataError: the file holds no such logits; says what was wanted and what was got.
    """
    headers, _ = read_headers(
        path, max_decoded_bytes, required=REQUIRED_KEYS, optional=OPTIONAL_KEYS
    )
    test_keys = [key for key in ("logits_test", "labels_test") if key in headers]
    if len(test_keys) == 1:
        raise InvalidDataError(
            f"wanted logits_test and labels_test, or neither; got {test_keys[0]} alone"
        )
    for part in ("fit", "test") if test_keys else ("fit",):
        _check_part(part, headers)
    n_classes = headers["logits_fit"].shape[1]
    if test_keys and headers["logits_test"].shape[1] != n_classes:
        raise InvalidDataError(
            f"logits_test: wanted {n_classes} columns, as logits_fit has; got "
            f"{headers['logits_test'].shape[1]}"
        )
    if "class_names" in headers:
        _check_names(headers["class_names"], n_classes)
    return LogitsStructure(n_classes, headers)


def _check_part(part: str, headers: dict[str, NpyHeader]) -> None:
    key, header = f"logits_{part}", headers[f"logits_{part}"]
    if not _LOGITS_DTYPE.fullmatch(header.dtype):
        raise InvalidDataError(
            f"{key}: wanted dtype float16, float32 or float64; got {header.dtype!r}"
        )
    if len(header.shape) != 2:
        raise InvalidDataError(
            f"{key}: wanted one row of K numbers a prediction, shape (N, K); got {header.shape}"
        )
    n_rows, n_classes = header.shape
    if n_rows < MIN_ROWS:
        raise InvalidDataError(f"{key}: wanted at least {MIN_ROWS} rows; got {n_rows}")
    if not 2 <= n_classes <= MAX_CLASSES:
        raise InvalidDataError(
            f"{key}: wanted 2 to {MAX_CLASSES} columns, one a class; got {n_classes}"
        )
    _check_labels(f"labels_{part}", headers[f"labels_{part}"], n_rows)


def _check_labels(key: str, header: NpyHeader, n_rows: int) -> None:
    if not (INTEGER_DTYPE.fullmatch(header.dtype) or BOOL_DTYPE.fullmatch(header.dtype)):
        raise InvalidDataError(
            f"{key}: wanted an integer dtype, or bool; got {header.dtype!r}{dtype_advice(header)}"
        )
    if header.shape not in ((n_rows,), (n_rows, 1)):
        raise InvalidDataError(
            f"{key}: wanted one label a row, shape ({n_rows},) or ({n_rows}, 1); got "
            f"{header.shape}{shape_advice(header, n_rows)}"
        )


def _check_names(header: NpyHeader, n_classes: int) -> None:
    check_class_names(header)
    if header.shape[0] != n_classes:
        raise InvalidDataError(
            f"class_names: wanted {n_classes} names, one a column of the logits; got "
            f"{header.shape[0]}"
        )
