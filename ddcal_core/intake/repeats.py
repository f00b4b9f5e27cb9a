"""Rows or images of one part that also stand in another, found by digests of 16 bytes each."""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_DIGEST_BYTES = 16
# So much more often than chance would have it, values coincide because they were copied.
_BEYOND_CHANCE = 3.0


class RowDigests:
    """Digests of rows as they come, whatever their order; 16 bytes a row are kept."""

    def __init__(self) -> None:
        self._digests = bytearray()

    def add(self, rows: bytes, n_row_bytes: int) -> None:
        """Take up rows of so many bytes each."""
        for start in range(0, len(rows), n_row_bytes):
            row = rows[start : start + n_row_bytes]
            self._digests += hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest()

    def as_array(self) -> NDArray[np.bytes_]:
        """The digests in the rows' order, (N,)."""
        return np.frombuffer(self._digests, f"S{_DIGEST_BYTES}")


class Shared(NamedTuple):
    """What of one part stands in the other.

    Attributes:
        n: its rows that do.
        is_all: whether every one does.
        may_be_chance: whether rows repeat so often inside either part that as many would
            coincide without a copy, as coarse numbers and few classes make them.
    """

    n: int
    is_all: bool
    may_be_chance: bool


def shared_rows(known: RowDigests, asked: RowDigests) -> Shared:
    """How many rows of `asked` stand in `known`, in any order.

    Two independent rows coincide with the chance seen inside the part that repeats less; were no
    row copied, about that chance times both numbers of rows would be shared.

    Args:
        known: rows that were fitted or trained on, at least one.
        asked: rows to measure on, at least one.
    """
    left, right = known.as_array(), asked.as_array()
    n = int(np.isin(right, left).sum())
    chance = min(_coincidence(left), _coincidence(right))
    by_chance = min(1.0, chance * len(left)) * len(right)
    is_same = len(left) == len(right) and bool((left == right).all())
    is_told_apart = n > _BEYOND_CHANCE * by_chance or (is_same and chance < 1)
    return Shared(n, n == len(right), n > 0 and not is_told_apart)


def _coincidence(digests: NDArray[np.bytes_]) -> float:
    """Share of pairs of rows that are equal."""
    if len(digests) < 2:
        return 0.0
    counts = np.unique(digests, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1)).sum() / (len(digests) * (len(digests) - 1)))
