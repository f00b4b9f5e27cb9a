"""How a temperature goes wrong, by name (arXiv 2307.12463), with a rule for each.

    over_calibration    under-confident after scaling, by more than chance shows
    under_calibration   still over-confident after scaling, likewise
    accuracy_lost       masked so much that the network mostly guesses
    nearly_uniform      T so large for these logits that every class gets about the same
    nearly_certain      T so small for these logits that every prediction is about certain

The paper names the first three without a rule; the rules are ours.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from ddcal_core.calibration.masked_classes import gaps_of, masked_gap
from ddcal_core.metrics import Z95, check_scores, signed_calibration_gap

Failure = Literal[
    "over_calibration", "under_calibration", "accuracy_lost", "nearly_uniform", "nearly_certain"
]

KEPT_SHARE = 0.5
LARGEST_RELATIVE_TEMPERATURE = 10.0
SMALLEST_RELATIVE_TEMPERATURE = 1 / 50


def direction_failure(probabilities: Tensor, labels: Tensor) -> Failure | None:
    """Name which way confidence and accuracy differ, where it is by more than chance.

    Were every prediction right with its confidence c as the chance, the mean of N differences
    confidence - [right] would be 0 with deviation sqrt(mean c (1 - c) / N); beyond 1.96 of
    those the difference is named. Give images that the temperature was not fitted on, or few
    numbers fitted on many images.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1, after scaling.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        "under_calibration" for confidence above accuracy, "over_calibration" for below, or None.

    Raises:
        ValueError: what `metrics.signed_calibration_gap` refuses.
    """
    gap = signed_calibration_gap(probabilities, labels)
    # Rows may sum to a little more than 1, and c (1 - c) must not turn negative.
    confidence = probabilities.amax(1).double().clamp(max=1)
    deviation = math.sqrt(float((confidence * (1 - confidence)).mean()) / len(labels))
    if abs(gap) <= Z95 * deviation:
        return None
    return "under_calibration" if gap > 0 else "over_calibration"


def accuracy_failure(
    masked_accuracy: float, clean_accuracy: float, *, n_classes: int
) -> Failure | None:
    """Name a mask that leaves less than half of what the network has beyond guessing.

    Args:
        masked_accuracy: of the network on the masked images, in [0, 1].
        clean_accuracy: on the same images unmasked.
        n_classes: K; guessing gets 1 / K right.

    Returns:
        "accuracy_lost" or None; None where the network itself is no better than guessing.
    """
    chance = 1 / n_classes
    beyond = clean_accuracy - chance
    is_lost = beyond > 0 and masked_accuracy - chance < KEPT_SHARE * beyond
    return "accuracy_lost" if is_lost else None


def logit_spread(logits: Tensor, labels: Tensor) -> float:
    """How far the largest logit stands above the mean of its row, mean over rows.

    Masked classes (`masked_classes`) are no part of a row.

    Args:
        logits: (N, K), N, K >= 1, floating point, finite.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        At least 0, in units of the logits, so of the temperature; 0 for constant rows. At most
        the largest float64.

    Raises:
        ValueError: no rows, not finite, or a label out of range.
    """
    check_scores(logits, labels)
    gaps = gaps_of(logits)
    is_kept = gaps < masked_gap(logits, labels)
    # In units of the largest, whose sums would leave float64 for logits near its end.
    largest = torch.finfo(torch.float64).max
    unit = max(float(gaps.where(is_kept, 0.0).clamp(max=largest).max()), 1.0)
    kept = gaps.where(is_kept, 0.0).clamp(max=largest) / unit
    return min(unit * float((kept.sum(1) / is_kept.sum(1)).mean()), largest)


def relative_temperature(temperature: float, spread: float) -> float | None:
    """T over the spread of the logits; None where that is no finite number."""
    relative = temperature / spread if spread else math.inf
    return relative if math.isfinite(relative) else None


def temperature_failure(temperature: float, spread: float) -> Failure | None:
    """Name a temperature that leaves nothing of the logits, or nothing but the largest one.

    Ten times the spread leaves the mean row's largest probability below 1.11 / K; a fiftieth of
    it takes the odds to e^50 and more.

    Args:
        temperature: T > 0.
        spread: of the logits it is used on (`logit_spread`); 0 makes every T nearly uniform.
    """
    if temperature > LARGEST_RELATIVE_TEMPERATURE * spread:
        return "nearly_uniform"
    if temperature < SMALLEST_RELATIVE_TEMPERATURE * spread:
        return "nearly_certain"
    return None
