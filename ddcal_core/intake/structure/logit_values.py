"""What the numbers in uploaded logits look like, by their first rows (standard library only).

A network's outputs after the softmax, or after K sigmoids, are the usual mistake in files of
logits; taken for logits they give a temperature that means nothing. Numbers cannot prove what they
are, so a file that looks so is refused unless its sender says what it holds.
"""

import math
import statistics
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from ddcal_core.intake.structure.logits_structure import LogitsStructure
from ddcal_core.intake.structure.npz_headers import NpyHeader, read_npy_header, readable_npz

Rows = Sequence[tuple[float, ...]]

_MOST_ROWS = 1_000
_MOST_NUMBERS = 100_000
_READ_BYTES = 1 << 20
_CODES = {"2": "e", "4": "f", "8": "d"}
_SCALES = {1: "probabilities", 100: "percentages", 255: "bytes", 1_000: "numbers per thousand"}
_ODD_SHARE = 0.1  # of the rows may be unlike the others: empty ones, say
_SUM_TOLERANCE = 0.01
_ROUNDED_SUM_TOLERANCE = 0.25
_SAME_SUM_TOLERANCE = 1e-3
_LARGEST_SHARE = 1e30
_SHIFTED_FROM = 0.5  # smallest number over the row's mean: logits moved up have no small ones
_GRID = 1_000  # parts of the whole that rounded probabilities are multiples of
# The deviation of log(p / (1 - p)): 1.8 where p is uniform on [0, 1], more where sigmoids of a
# trained network press their outputs against 0 and 1.
_SIGMOID_DEVIATION = 2.2
_LEAST_SIGMOIDS = 50


def undeclared_values(path: Path, structure: LogitsStructure) -> str | None:
    """Say what is not logits in a file whose sender has not said what it holds.

    Log probabilities are logits. So are numbers that merely lie in [0, 1]: rows of probabilities
    are told by their sums.

    Args:
        path: the file.
        structure: what `inspect_logits` gave for it.

    Returns:
        What was wanted and got, and what to do; None where the numbers may be logits.

    Raises:
        InvalidDataError: the rows cannot be read.
    """
    for part in structure.parts:
        key = f"logits_{part}"
        with readable_npz(path) as archive:
            rows = _first_rows(archive, structure.headers[key], key)
        detail = _unlike_logits(key, rows)
        if detail is not None:
            return detail
    return None


def _unlike_logits(key: str, rows: Rows) -> str | None:
    if are_negated_log_probabilities(rows):
        return (
            f"{key}: wanted logits; got rows whose exp(-x) sum to 1, as those of negated log "
            "probabilities do: reverse their sign, or add values=logits if they are logits all "
            "the same"
        )
    look = looks_like(rows)
    if look is None:
        return None
    # Where nothing but probabilities is left, logits are not believed.
    are_certain = all(_is_distribution(row, 1, _SUM_TOLERANCE) for row in rows)
    other = "" if are_certain else ", or values=logits if they are logits all the same"
    return (
        f"{key}: wanted logits, a network's outputs before the softmax; got what looks like "
        f"{look}: add values=probabilities to have their logarithms taken{other}"
    )


def looks_like(rows: Rows) -> str | None:
    """Name what rows are that are no logits: probabilities in some dress, or sigmoids.

    Args:
        rows: K numbers each, of any size.
    """
    for scale, name in _SCALES.items():
        if _share(_is_distribution(row, scale, _SUM_TOLERANCE) for row in rows) >= 1 - _ODD_SHARE:
            return f"{name} (rows of numbers from 0 on that sum to {scale})"
        if _are_rounded(rows, scale):
            return f"rounded {name} (rows of numbers from 0 on that sum to about {scale})"
    whole = _common_sum(rows)
    if whole is not None:
        return f"shares of {whole:g} (rows of numbers from 0 on that sum to it)"
    return "sigmoids (all numbers in 0 to 1, most near either end)" if _are_sigmoids(rows) else None


def are_negated_log_probabilities(rows: Rows) -> bool:
    """Whether exp(-x) sums to 1 in nearly every row, with no x below 0."""
    return _share(
        min(row) >= -1e-6 and abs(math.fsum(map(math.exp, (-x for x in row))) - 1) <= _SUM_TOLERANCE
        for row in rows
    ) >= (1 - _ODD_SHARE)


def _first_rows(archive: zipfile.ZipFile, header: NpyHeader, key: str) -> Rows:
    n_rows, n_classes = header.shape
    n = min(n_rows, _MOST_ROWS, max(2, _MOST_NUMBERS // n_classes))
    order, code = ">" if header.dtype.startswith(">") else "<", _CODES[header.dtype[-1]]
    width = int(header.dtype[-1])
    with archive.open(f"{key}.npy") as stream:
        read_npy_header(stream)
        if not header.fortran_order:
            numbers = struct.iter_unpack(
                f"{order}{n_classes}{code}", stream.read(n * n_classes * width)
            )
            return list(numbers)
        columns = [
            struct.unpack(f"{order}{n}{code}", _start_of(stream, n * width, n_rows * width))
            for _ in range(n_classes)
        ]
        return list(zip(*columns, strict=True))


def _start_of(stream: IO[bytes], n_kept: int, n_bytes: int) -> bytes:
    """Read n_bytes and keep the first ones alone: a column may be larger than the memory."""
    kept = stream.read(n_kept)
    left = n_bytes - n_kept
    while left > 0 and (data := stream.read(min(left, _READ_BYTES))):
        left -= len(data)
    return kept


def _share(answers: Iterable[bool]) -> float:
    held = list(answers)
    return sum(held) / len(held)


def _is_distribution(row: tuple[float, ...], scale: float, tolerance: float) -> bool:
    is_in_range = min(row) >= -1e-6 * scale and max(row) <= scale * (1 + tolerance)
    return is_in_range and abs(math.fsum(row) - scale) <= tolerance * scale


def _common_sum(rows: Rows) -> float | None:
    """The one sum that nearly all rows have, of numbers from 0 on: votes, counts, weights."""
    usual = [row for row in rows if min(row) >= 0 and max(row) <= _LARGEST_SHARE]
    if len(usual) < (1 - _ODD_SHARE) * len(rows):
        return None
    whole = statistics.median(map(math.fsum, usual))
    is_shared = _share(max(row) < (1 - _SAME_SUM_TOLERANCE) * whole for row in usual) > _ODD_SHARE
    lowest = statistics.median(min(row) * len(row) for row in usual)
    if not is_shared or lowest >= _SHIFTED_FROM * whole:
        return None
    n_same = sum(abs(math.fsum(row) - whole) <= _SAME_SUM_TOLERANCE * whole for row in usual)
    return whole if n_same >= (1 - _ODD_SHARE) * len(rows) else None


def _are_rounded(rows: Rows, scale: float) -> bool:
    """Whether all are multiples of a thousandth of the whole, and rows sum to about the whole."""
    tolerance = _ROUNDED_SUM_TOLERANCE
    if _share(_is_distribution(row, scale, tolerance) for row in rows) < 1 - _ODD_SHARE:
        return False
    steps = [x * _GRID / scale for row in rows for x in row]
    middle = statistics.median(
        math.fsum(row) for row in rows if _is_distribution(row, scale, tolerance)
    )
    return abs(middle - scale) <= scale / 10 and all(
        math.isfinite(step) and abs(step - round(step)) < 1e-2 for step in steps
    )


def _are_sigmoids(rows: Rows) -> bool:
    values = [x for row in rows for x in row]
    if min(values) < 0 or max(values) > 1:
        return False
    inside = [min(max(x, 1e-4), 1 - 1e-4) for x in values if 0 < x < 1]
    if len(inside) < _LEAST_SIGMOIDS:
        return False
    return statistics.pstdev(math.log(x / (1 - x)) for x in inside) > _SIGMOID_DEVIATION
