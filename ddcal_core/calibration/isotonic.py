"""Isotonic regression class by class.

It can change predictions, unlike a temperature, and needs many more labels than one number.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ddcal_core.metrics import check_logits
from ddcal_core.metrics.scores import check_classes

IsotonicStatus = Literal["ok", "one_class"]


@dataclass(frozen=True)
class IsotonicScaling:
    """A rising step-and-line function for each class's probability, then rows made to sum to 1.

    Attributes:
        probabilities: for each class the softmax probabilities between which lines are drawn.
        shares: for each class the calibrated values there, before rows are made to sum to 1.
    """

    probabilities: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    def apply(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities.

        They can be exactly 0, so that an NLL may be infinite. Rows in which every class got 0 are
        1 / K for all.

        Args:
            logits: (N, K), finite, of as many classes as were fitted.

        Returns:
            float64 (N, K), rows summing to 1, on the logits' device.

        Raises:
            ValueError: the classes are others in number.
        """
        check_classes(logits, len(self.shares))
        raw = torch.softmax(logits.double(), 1).cpu().numpy()
        columns = [
            np.interp(raw[:, k], self.probabilities[k], self.shares[k])
            for k in range(len(self.shares))
        ]
        shares = torch.from_numpy(np.stack(columns, 1)).to(logits.device)
        total = shares.sum(1, keepdim=True)
        uniform = 1 / len(self.shares)
        return torch.where(total > 0, shares / total.where(total > 0, 1.0), uniform)


@dataclass(frozen=True)
class IsotonicFit:
    """An isotonic scaling.

    Attributes:
        scaling: the K functions.
        status: "ok", or "one_class": all labels are the same, and every answer is certain.
        n: rows of logits fitted on.
    """

    scaling: IsotonicScaling
    status: IsotonicStatus
    n: int


def fit_isotonic(logits: Tensor, labels: Tensor) -> IsotonicFit:
    """Isotonic regression of [y = k] on each softmax probability p_k, through scikit-learn.

    One against the rest, then rows are divided by their sum. It follows the labels it is fitted
    on closely: with few of them a temperature is better.

    Args:
        logits: (N, K), N >= 1, floating point, finite, not probabilities.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        The K functions.

    Raises:
        ValueError: what `fit_temperature` refuses.

    Source:
        Zadrozny and Elkan, KDD 2002.
    """
    # Imported by need: scikit-learn takes as long to import as torch, and few jobs need it.
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415

    check_logits(logits, labels)
    # float32 rounds confident probabilities to 1, and isotonic regression gives ties one value.
    probabilities = torch.softmax(logits.double(), 1).cpu().numpy()
    classes = labels.cpu().numpy()
    knots, shares = [], []
    for k in range(logits.shape[1]):
        model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        model.fit(probabilities[:, k], (classes == k).astype(np.float64))
        knots.append(tuple(model.X_thresholds_.tolist()))
        shares.append(tuple(model.y_thresholds_.tolist()))
    status: IsotonicStatus = "one_class" if bool((classes == classes[0]).all()) else "ok"
    return IsotonicFit(IsotonicScaling(tuple(knots), tuple(shares)), status, len(labels))
