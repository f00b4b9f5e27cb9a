"""Rows of logits a chunk at a time, in float64 and, for few classes, class by class.

Sums over few classes run several times faster along memory than across it, and chunks that stay
in a core's cache faster than whole arrays; a whole float64 copy is never made.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

_NUMBERS_IN_CACHE = 2**16  # 512 KiB of float64
_FEW_CLASSES = 32
_LOG2_E = math.log2(math.e)
# An accelerator wants few, large kernels; 128 MiB of float64 a chunk still bounds the memory.
_NUMBERS_ON_ACCELERATOR = 2**24


def row_chunks(scores: Tensor) -> Iterator[slice]:
    """Slices of the rows of scores (N, K) that are small enough to work on, in order.

    No slices for N = 0. On a CPU a chunk has at most 65,536 numbers, but always a whole row.
    """
    is_on_cpu = scores.device.type == "cpu"
    n_numbers = _NUMBERS_IN_CACHE if is_on_cpu else _NUMBERS_ON_ACCELERATOR
    step = max(1, n_numbers // scores.shape[1])
    return (slice(start, start + step) for start in range(0, len(scores), step))


def exponential_of_multiple(values: Tensor, factor: float) -> Tensor:
    """exp(factor values), for values of at most 0.

    By powers of 2, which torch computes in half the time of exp in float64. The product's
    rounding costs a relative error of |factor values| eps, most where the result is least.

    Args:
        values: floating point, of any shape, at most 0; -inf gives 0.
        factor: above 0.

    Returns:
        A new tensor in [0, 1], of the shape, dtype and device of `values`.
    """
    return torch.mul(values, factor * _LOG2_E).exp2_()


def in_float64(scores: Tensor) -> tuple[Tensor, int]:
    """Copy scores to float64, class by class where there are few classes.

    Args:
        scores: (n, K), floating point.

    Returns:
        With K < 32 the copy as (K, n) and 0, its dimension of classes; else (n, K) and 1.
    """
    if scores.shape[1] >= _FEW_CLASSES:
        return scores.to(torch.float64, copy=True), 1
    wide = scores.t().to(torch.float64, memory_format=torch.contiguous_format, copy=True)
    return wide, 0
