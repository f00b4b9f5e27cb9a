"""Linear probes: what of an image, beside its class, can be read off a network's features."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional

from ddcal_core.specs.evaluation import Probe

GAINS = (0.4, 0.6, 0.8, 1.0)
TINT_GAIN = 0.6
RIDGES = tuple(10.0**power for power in range(-2, 7))
"""Penalties tried, by leaving one image out of those fitted on."""


@dataclass(frozen=True, eq=False)
class ProbeTask:
    """Images changed in one of a few ways, and which way.

    Attributes:
        pixels: float32 (N, C, H, W) in [0, 1].
        targets: int64 (N,), 0 to n_ways - 1, all ways as often as one another, within one.
        n_ways: 2 to 4.
    """

    pixels: Tensor
    targets: Tensor
    n_ways: int


def probe_task(
    probe: Probe, pixels: Tensor, ground: tuple[float, ...], generator: torch.Generator
) -> ProbeTask:
    """Change each image in one of a few ways, drawn at random and independent of its class.

        rotation    by 0, 90, 180 or 270 degrees; where height and width differ, by 0 or 180
        position    at half of its size (mean of squares) in one of the four quarters of the image,
                    the rest of one colour
        brightness  pixels times 0.4, 0.6, 0.8 or 1
        colour      two of the three channels times 0.6

    Args:
        probe: which change.
        pixels: float32 (N, C, H, W) in [0, 1]; of colour C = 3.
        ground: colour beside the image for position, a number of each channel.
        generator: a CPU generator.

    Raises:
        ValueError: colour of images without three channels.
    """
    n_channels, height, width = pixels.shape[1:]
    of_probe = n_ways(probe, (n_channels, height, width))
    order = torch.randperm(len(pixels), generator=generator)
    targets = (torch.arange(len(pixels)) % of_probe)[order].to(pixels.device)
    match probe:
        case "rotation":
            quarters = 4 // of_probe
            ways = [torch.rot90(pixels, way * quarters, (2, 3)) for way in range(of_probe)]
        case "position":
            ways = _in_quarters(pixels, ground)
        case "brightness":
            ways = [pixels * gain for gain in GAINS]
        case "colour":
            if n_channels != 3:
                raise ValueError(f"colour: wanted images of 3 channels, got {n_channels}")
            gains = torch.full((3, 3), TINT_GAIN, device=pixels.device).fill_diagonal_(1.0)
            ways = [pixels * gain.view(1, 3, 1, 1) for gain in gains]
        case _:
            assert_never(probe)
    changed = torch.stack(ways)[targets, torch.arange(len(pixels), device=pixels.device)]
    return ProbeTask(changed, targets, of_probe)


def n_ways(probe: Probe, image_shape: tuple[int, int, int]) -> int:
    """In how many ways a probe has images changed.

    Args:
        probe: which.
        image_shape: (C, H, W).
    """
    match probe:
        case "rotation":
            return 4 if image_shape[1] == image_shape[2] else 2
        case "position":
            return 4
        case "brightness":
            return len(GAINS)
        case "colour":
            return 3
        case _:
            assert_never(probe)


def _in_quarters(pixels: Tensor, ground: tuple[float, ...]) -> list[Tensor]:
    height, width = (side // 2 for side in pixels.shape[2:])
    small = functional.adaptive_avg_pool2d(pixels, (height, width))
    ways = []
    for top in (0, pixels.shape[2] - height):
        for left in (0, pixels.shape[3] - width):
            placed = pixels.new_tensor(ground).view(1, -1, 1, 1).expand_as(pixels).clone()
            placed[:, :, top : top + height, left : left + width] = small
            ways.append(placed)
    return ways


def linear_probe(features: Tensor, targets: Tensor) -> float:
    """How often a linear classifier reads the way off features it was not fitted on.

    Fitted on every other row, asked about the rest: ridge regression on one-hot targets, features
    standardised, the penalty chosen by leaving out one row of those fitted on.

    Args:
        features: (N, F), N >= 4, finite.
        targets: int64 (N,), at least two ways among the rows fitted on.

    Returns:
        Share of right answers, in [0, 1].

    Source:
        Alain and Bengio, arXiv 1610.01644; the classifier is scikit-learn's RidgeClassifierCV.
    """
    # Imported by need: .2 s that few jobs need.
    from sklearn.linear_model import RidgeClassifierCV  # noqa: PLC0415

    wide, wanted = features.double().cpu(), targets.cpu().numpy()
    fitted_on = wide[::2]
    deviation = fitted_on.std(0)
    centred = (wide - fitted_on.mean(0)) / deviation.where(deviation > 0, 1.0)
    rows = centred.numpy()
    probe = RidgeClassifierCV(alphas=RIDGES).fit(rows[::2], wanted[::2])
    return float((probe.predict(rows[1::2]) == wanted[1::2]).mean())
