"""Rows of logits a chunk at a time, in float64 and class by class.

Sums over few classes run several times faster along memory than across it, and chunks that stay
in a core's cache faster than whole arrays; a whole float64 copy is never made.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

_NUMBERS_IN_CACHE = 2**16
_NUMBERS_ON_ACCELERATOR = 2**24


def row_chunks(scores: Tensor) -> Iterator[slice]:
    """Slices of the rows of scores (N, K) that are small enough to work on, in order."""
    is_on_cpu = scores.device.type == "cpu"
    n_numbers = _NUMBERS_IN_CACHE if is_on_cpu else _NUMBERS_ON_ACCELERATOR
    step = max(1, n_numbers // scores.shape[1])
    return (slice(start, start + step) for start in range(0, len(scores), step))


def class_major(scores: Tensor) -> Tensor:
    """A float64 copy (K, n) of scores (n, K), contiguous."""
    return scores.t().to(torch.float64, memory_format=torch.contiguous_format, copy=True)
