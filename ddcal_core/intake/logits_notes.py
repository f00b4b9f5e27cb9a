"""What is odd about logits with their labels, in words that say what to do about it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.intake.repeats import Shared

_MOST_NAMES = 5
# Accuracy is far below guessing where it is below half of what independent labels would give, by
# more than so many of its standard deviations.
_FAR_SHARE = 0.5
_FAR_DEVIATIONS = 3.0
_FAR_LABEL = 2.0**12
_MOST_FAR_LABELS = 0.1  # of the rows; more of them are no exceptions
_PERMUTED_DEVIATIONS = 6.0  # more, as the best of K columns is chosen for each label


class LabelTally:
    """How labels and logits agree: counts over the rows of one part.

    Attributes:
        predicted: int64 (K, K), rows of each label by the class of their first largest logit.
        n_smallest: rows whose first smallest logit is the label's.
        below_largest: how far the label's logit lies below the row's largest, float64 arrays (n,).
        above_middle: how far the row's largest lies above its median, likewise.
    """

    def __init__(self, n_classes: int) -> None:
        self.predicted = np.zeros((n_classes, n_classes), np.int64)
        self.n_smallest = 0
        self.below_largest: list[NDArray[np.float64]] = []
        self.above_middle: list[NDArray[np.float64]] = []

    def add(self, logits: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        """Take up rows (n, K) and their labels (n,)."""
        n_classes = len(self.predicted)
        places = labels * n_classes + logits.argmax(1)
        self.predicted += np.bincount(places, minlength=n_classes**2).reshape(self.predicted.shape)
        self.n_smallest += int((logits.argmin(1) == labels).sum())
        # Halves, as differences of the largest float64 are none.
        halves = logits.astype(np.float64) / 2
        largest = halves.max(1)
        self.below_largest.append(largest - halves[np.arange(len(labels)), labels])
        self.above_middle.append(largest - np.median(halves, 1))


def absent_classes_note(part: str, counts: Sequence[int], names: Sequence[str]) -> str | None:
    """Name the classes without a row to fit on; None where there are none."""
    absent = [repr(name) for name, count in zip(names, counts, strict=True) if count == 0]
    if not absent:
        return None
    shown = ", ".join(absent[:_MOST_NAMES])
    more = f" and {len(absent) - _MOST_NAMES} more" if len(absent) > _MOST_NAMES else ""
    counted = ""
    if counts[0] == 0 and min(counts[1:]) > 0:
        counted = " If your labels count from 1, subtract 1 from every one."
    return (
        f"labels_{part} has no row of class {shown}{more}. A temperature can do without; vector "
        "scaling and isotonic regression learn that such a class never occurs, and get every test "
        f"row of it wrong: add rows of it, or use ts.{counted}"
    )


class Disagreement(NamedTuple):
    """How far answers are from the labels.

    Attributes:
        accuracy: share of rows whose largest logit is the label's, in [0, 1].
        guessing: likewise by guessing.
        is_far_below: whether the one is far below the other, and not only no better.
    """

    accuracy: float
    guessing: float
    is_far_below: bool


def disagreement(tally: LabelTally) -> Disagreement | None:
    """Tell whether the largest logit is the label's far less often than by guessing.

    Likewise where it is no more often, but would be far more often with the columns reordered.
    None where it is neither, or too few rows tell.

    Guessing is measured by what labels and predictions would agree were they independent.
    """
    n = int(tally.predicted.sum())
    accuracy = float(np.trace(tally.predicted)) / n
    guessing = float(tally.predicted.sum(0) @ tally.predicted.sum(1)) / n**2
    deviation = math.sqrt(guessing * (1 - guessing) / n)
    beyond = (accuracy - guessing) / max(deviation, 1 / n)
    is_far_below = accuracy < _FAR_SHARE * guessing and beyond < -_FAR_DEVIATIONS
    is_permuted = beyond < _FAR_DEVIATIONS and _are_permuted(tally, guessing, deviation)
    if not (is_far_below or is_permuted):
        return None
    return Disagreement(accuracy, guessing, is_far_below)


def accuracy_note(part: str, tally: LabelTally, names: Sequence[str]) -> str | None:
    """Say that answers are far from the labels, see `disagreement`, and why that may be."""
    found = disagreement(tally)
    if found is None:
        return None
    return (
        f"The largest logit of logits_{part} is the label's in {100 * found.accuracy:.1f} % of the "
        f"rows, {'far below' if found.is_far_below else 'no better than'} the "
        f"{100 * found.guessing:.1f} % of guessing: {_reason(tally, names)}"
    )


def _are_permuted(tally: LabelTally, guessing: float, deviation: float) -> bool:
    """Whether every label has a largest column of its own that is right far beyond guessing."""
    columns = tally.predicted.argmax(1)
    mapped = float(tally.predicted.max(1).sum() / tally.predicted.sum())
    is_far_beyond = mapped > guessing + _PERMUTED_DEVIATIONS * deviation
    return is_far_beyond and len(np.unique(columns)) == len(columns)


def far_labels_note(part: str, tally: LabelTally) -> str | None:
    """Name rows whose label's logit lies so far below the largest that they decide every fit."""
    below = np.concatenate(tally.below_largest)
    usual = float(np.median(np.concatenate(tally.above_middle)))
    rows = np.flatnonzero(below / _FAR_LABEL > usual) if usual > 0 else np.empty(0, np.int64)
    if not 0 < len(rows) <= _MOST_FAR_LABELS * len(below):
        return None
    shown = ", ".join(map(str, rows[:_MOST_NAMES])) + (", ..." if len(rows) > _MOST_NAMES else "")
    return (
        f"In {len(rows):,} of the {len(below):,} rows of logits_{part} (row {shown}) the label's "
        "logit lies thousands of times farther below the largest than logits usually lie apart: a "
        "label on a masked class, or numbers that blew up. Such a row decides a temperature by "
        "itself: look at it, or leave it out."
    )


def shared_note(shared: Shared, n_test: int) -> str | None:
    """Say which share of the test rows was fitted on."""
    if shared.n == 0:
        return None
    share = f"{shared.n:,} of the {n_test:,} rows of logits_test also stand in logits_fit"
    if shared.may_be_chance:
        return (
            f"{share}. Rows repeat as often inside logits_fit and logits_test, so this may be "
            "chance; check that the parts are of different samples."
        )
    return (
        f"{share}: they were fitted on, which flatters every number. Send test rows that were not."
    )


def _reason(tally: LabelTally, names: Sequence[str]) -> str:
    n = int(tally.predicted.sum())
    smallest, mapped = tally.n_smallest / n, tally.predicted.max(1).sum() / n
    if smallest >= mapped:
        return (
            f"the smallest is in {100 * smallest:.1f} %, so the sign is probably reversed. Send "
            "-logits, or log probabilities instead of their negatives."
        )
    others = tally.predicted * ~np.eye(len(tally.predicted), dtype=bool)
    label, column = divmod(int(others.argmax()), len(others))
    return (
        "labels and columns are probably in different orders, or the labels count from another "
        f"number. Rows of label {label} ({names[label]!r}) have their largest logit mostly in "
        f"column {column} ({names[column]!r}): bring labels and columns into one order."
    )
