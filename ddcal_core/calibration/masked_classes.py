"""Classes that were masked in the logits: values such as -1e9 or finfo.min in place of logits.

Continual learners, action masks and candidate lists give classes that cannot be such a value. It
is no logit: what is measured on rows, or fitted on them, has to leave it out.
"""

import itertools
import math

import torch
from torch import Tensor

from ddcal_core.metrics.class_major import row_chunks

# The smallest value in use is -1e4, for half precision. Rows below this spread cost no pass.
_LEAST_GAP = 2.0**12
_LEAST_REPEATED_GAP = 2.0**6
_EMPTY_OCTAVES = 6
_LEAST_SHARE_OF_ROWS = 0.1
_LEAST_REPEATS = 2
_FAR_OCTAVES = 100  # values so far off take no part at any temperature near that of the others
_N_OCTAVES = 1026


def masked_gap(logits: Tensor, labels: Tensor) -> float:
    """How far below its row's largest logit a value is no logit but a mask.

    A gap is largest minus own value. Masks are told by their distance: above the largest gap of
    any label and from 4,096 on, gaps that six octaves (a factor of 64) without a single gap set
    apart; in a tenth of the rows, so that no few outliers are taken for masks (unless 100 octaves
    set them apart); and half of the rows keep two classes, so that no certain network is. From 64
    on an octave will do where the mask is one number, the smallest there is, in a tenth of the
    rows and in two at least: -100, say. Rows may mask different classes.

    Args:
        logits: (N, K), N >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        A power of 2; values at that gap or above it are masks. math.inf where there are none.
    """
    low, high = torch.aminmax(logits)
    spread = float(high) / 2 - float(low) / 2
    if spread < _LEAST_REPEATED_GAP / 2:
        return math.inf
    gap = _gap_by_distance(logits, labels) if spread >= _LEAST_GAP / 2 else math.inf
    return gap if gap < math.inf else _gap_by_repeats(logits, labels, low)


def _gap_by_distance(logits: Tensor, labels: Tensor) -> float:
    counts = torch.zeros(_N_OCTAVES, dtype=torch.int64, device=logits.device)
    at_labels = 0
    for part in row_chunks(logits):
        octaves = _octaves(gaps_of(logits[part]))
        counts += torch.bincount(octaves.flatten(), minlength=_N_OCTAVES)
        at_labels = max(at_labels, int(octaves.gather(1, labels[part, None]).max()))
    occupied = [octave for octave in counts.nonzero().flatten().tolist() if octave > at_labels]
    for below, above in itertools.pairwise([at_labels, *occupied]):
        gap = math.ldexp(1.0, above - 1)
        if above - below <= _EMPTY_OCTAVES or gap < _LEAST_GAP:
            continue
        is_far = above - below > _FAR_OCTAVES
        if _are_masks(logits, gap, 0 if is_far else _LEAST_SHARE_OF_ROWS * len(logits)):
            return gap
    return math.inf


def _gap_by_repeats(logits: Tensor, labels: Tensor, low: Tensor) -> float:
    """Likewise, where the smallest number of all repeats: logits of networks do not."""
    # One of nine rows is more than a tenth of them, and repeats nothing.
    least_rows = max(_LEAST_REPEATS, _LEAST_SHARE_OF_ROWS * len(logits))
    if int((logits == low).any(1).sum()) < least_rows:
        return math.inf
    nearest, others = math.inf, 0.0
    for part in row_chunks(logits):
        gaps, is_low = gaps_of(logits[part]), logits[part] == low
        is_low = is_low.scatter(1, labels[part, None], value=False)
        nearest = min(nearest, float(gaps.where(is_low, math.inf).min()))
        others = max(others, float(gaps.where(~is_low, 0.0).max()))
    if not _LEAST_REPEATED_GAP <= nearest < math.inf:
        return math.inf
    gap = math.ldexp(1.0, math.frexp(nearest)[1] - 1)
    is_apart = others <= gap / 2 and _are_masks(logits, gap, least_rows)
    return gap if is_apart else math.inf


def gaps_of(logits: Tensor) -> Tensor:
    """How far values lie below the largest of their row, float64 (N, K), at least 0.

    Infinite where that is more than float64 can hold.
    """
    wide = logits.double()
    return wide.amax(1, keepdim=True) - wide


def _octaves(gaps: Tensor) -> Tensor:
    """E of each gap in [2^(e - 1), 2^e), int64, 0 for all below 1."""
    finite = gaps.clamp(max=torch.finfo(torch.float64).max)
    return torch.frexp(finite).exponent.clamp(min=0).long()


def _are_masks(logits: Tensor, gap: float, least_rows: float) -> bool:
    n_keeping_two = n_with_masks = 0
    for part in row_chunks(logits):
        n_kept = (gaps_of(logits[part]) < gap).sum(1)
        n_keeping_two += int((n_kept >= 2).sum())
        n_with_masks += int((n_kept < logits.shape[1]).sum())
    return 2 * n_keeping_two >= len(logits) and n_with_masks >= least_rows
