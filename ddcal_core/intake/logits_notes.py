"""What is odd about logits with their labels, in words that say what to do about it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ddcal_core.intake.repeats import Shared

_MOST_NAMES = 5
# Accuracy is far below guessing where it is below half of what independent labels would give, by
# more than so many of its standard deviations.
_FAR_SHARE = 0.5
_FAR_DEVIATIONS = 3.0


class LabelTally:
    """How labels and logits agree: counts over the rows of one part.

    Attributes:
        predicted: int64 (K, K), rows of each label by the class of their first largest logit.
        n_smallest: rows whose first smallest logit is the label's.
    """

    def __init__(self, n_classes: int) -> None:
        self.predicted = np.zeros((n_classes, n_classes), np.int64)
        self.n_smallest = 0

    def add(self, logits: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        """Take up rows (n, K) and their labels (n,)."""
        n_classes = len(self.predicted)
        places = labels * n_classes + logits.argmax(1)
        self.predicted += np.bincount(places, minlength=n_classes**2).reshape(self.predicted.shape)
        self.n_smallest += int((logits.argmin(1) == labels).sum())


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


def accuracy_note(part: str, tally: LabelTally, names: Sequence[str]) -> str | None:
    """Say that the largest logit is the label's far less often than by guessing, and why it may be.

    Guessing is measured by what labels and predictions would agree were they independent.
    """
    n = int(tally.predicted.sum())
    accuracy = float(np.trace(tally.predicted)) / n
    guessing = float(tally.predicted.sum(0) @ tally.predicted.sum(1)) / n**2
    deviation = math.sqrt(guessing * (1 - guessing) / n)
    if accuracy >= _FAR_SHARE * guessing or guessing - accuracy <= _FAR_DEVIATIONS * deviation:
        return None
    return (
        f"The largest logit of logits_{part} is the label's in {100 * accuracy:.1f} % of the rows, "
        f"far below the {100 * guessing:.1f} % of guessing: {_reason(tally, names)}"
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
    label = int(tally.predicted.max(1).argmax())
    column = int(tally.predicted[label].argmax())
    return (
        "labels and columns are probably in different orders, or the labels count from another "
        f"number. Rows of label {label} ({names[label]!r}) have their largest logit mostly in "
        f"column {column} ({names[column]!r}): bring labels and columns into one order."
    )
