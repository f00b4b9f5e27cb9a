"""Rows of logits a chunk at a time, in float64 and, for few classes, class by class.

Sums over few classes run several times faster along memory than across it, and chunks that stay
in a core's cache faster than whole arrays; a whole float64 copy is never made.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

_NUMBERS_IN_CACHE = 2**16
_FEW_CLASSES = 32
_LOG2_E = math.log2(math.e)
_NUMBERS_ON_ACCELERATOR = 2**24


def row_chunks(scores: Tensor) -> Iterator[slice]:
    """Slices of the rows of scores (N, K) that are small enough to work on, in order."""
    is_on_cpu = scores.device.type == "cpu"
    n_numbers = _NUMBERS_IN_CACHE if is_on_cpu else _NUMBERS_ON_ACCELERATOR
    step = max(1, n_numbers // scores.shape[1])
    return (slice(start, start + step) for start in range(0, len(scores), step))


def exponential_of_multiple(values: Tensor, factor: float) -> Tensor:
    """exp(factor values), a new tensor, for values of at most 0.

    By powers of 2, which torch computes in half the time of exp in float64. The product's
    rounding costs a relative error of |factor values| eps, most where the result is least.
    """
    return torch.mul(values, factor * _LOG2_E).exp2_()


def in_float64(scores: Tensor) -> tuple[Tensor, int]:
    """A float64 copy of scores (n, K) and its dimension of classes: (K, n), 0, for few of them."""
    if scores.shape[1] >= _FEW_CLASSES:
        return scores.to(torch.float64, copy=True), 1
    wide = scores.t().to(torch.float64, memory_format=torch.contiguous_format, copy=True)
    return wide, 0
