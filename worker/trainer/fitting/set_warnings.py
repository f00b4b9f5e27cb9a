"""What the validation scores of a distilled set say against it."""

import torch
from torch import Tensor

from ddcal_core.distillation.loop import Outcome
from ddcal_core.distillation.selection import MAX_VALIDATION_IMAGES
from ddcal_core.formats.manifests import SetWarning
from ddcal_core.metrics import wilson_interval


def set_warnings(outcome: Outcome, labels: Tensor) -> tuple[SetWarning, ...]:
    """Say what whoever uses a set should know of it first.

    Args:
        outcome: of the distillation.
        labels: int64 (N,), of the validation images.

    Returns:
        Nothing for a set that was not scored. That it guesses is said of an accuracy within the
        95 % interval of the share of the largest class.
    """
    if outcome.chosen_step not in outcome.scores:
        return ()
    score, start = outcome.scores[outcome.chosen_step], outcome.scores[0]
    n_scored = min(len(labels), MAX_VALIDATION_IMAGES)
    guessing = float(torch.bincount(labels).max()) / len(labels)
    scored = f"a network trained on the set gets {score:.1%} of {n_scored:,} validation images"
    found = []
    if score < start:
        message = f"{scored} right; on the images that the distillation began from, {start:.1%}"
        found.append(SetWarning(code="below_start", message=message))
    if score <= wilson_interval(guessing, n_scored)[1]:
        message = f"{scored} right; naming the largest class always gets {guessing:.1%}"
        found.append(SetWarning(code="guesses", message=message))
    return tuple(found)
