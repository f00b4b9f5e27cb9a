"""SmoothECE: a calibration error without bins."""

import math

import torch
from torch import Tensor

from ddcal_core.metrics.scores import confidence_and_hits

_CELLS = 2**13  # a power of 2, for the FFT
_HALVINGS = 40


def smooth_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """SmoothECE: the integral of the kernel-smoothed gap, at the width that equals it.

    smECE_s = integral over t in [0, 1] of |1/N sum_i (a_i - c_i) K_s(t, c_i)|, with hits a,
    confidences c, and K the Gaussian of deviation s reflected at 0 and 1. It falls with s; the
    value is the s with smECE_s = s. Confidences are shared between the two nearest points of a
    grid of 1/8192, which is exact in their mean, and K_s is applied in its cosine basis: the
    error is of the order (1 / 8192 s)^2 relative. The bisection is carried to the end, where
    relplot stops at 0.001.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        In [0, 1].

    Raises:
        ValueError: empty, misshapen, no probabilities, or a label out of range.

    Source:
        Błasiok and Nakkiran, ICLR 2024.
    """
    confidence, is_right = confidence_and_hits(probabilities, labels)
    # Rows may sum to a little more than 1; the grid ends there.
    spectrum = _gap_spectrum(confidence.clamp(0, 1), is_right)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        width = (low + high) / 2
        if _smoothed_gap(spectrum, width) < width:
            high = width
        else:
            low = width
    return high if high > 2.0**-_HALVINGS else 0.0


def _gap_spectrum(confidence: Tensor, is_right: Tensor) -> Tensor:
    """Fourier transform of the mean gaps a - c on the grid, mirrored onto a circle of length 2."""
    position = confidence * _CELLS
    cell = position.floor().clamp_max(_CELLS - 1)
    share, left = position - cell, cell.long()
    gap = (is_right.double() - confidence) / len(confidence)
    mass = torch.bincount(left, gap * (1 - share), _CELLS + 1)
    mass += torch.bincount(left + 1, gap * share, _CELLS + 1)
    # A point's mirror image is itself at 0 and at 1, where both masses fall together.
    circle = torch.cat([mass, mass[1:-1].flip(0)])
    circle[0] *= 2
    circle[_CELLS] *= 2
    spectrum: Tensor = torch.fft.rfft(circle)
    return spectrum


def _smoothed_gap(spectrum: Tensor, width: float) -> float:
    frequency = torch.arange(len(spectrum), dtype=torch.float64, device=spectrum.device)
    kernel = torch.exp(-0.5 * (math.pi * width * frequency).square())
    smoothed = torch.fft.irfft(spectrum * kernel, n=2 * _CELLS)
    # The circle holds every gap twice, itself and its mirror image.
    return float(smoothed.abs().sum()) / 2
