"""The calibration error of every class's probability, not of the largest alone."""

import functools
import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.metrics.binned import N_BINS, BinSums, bin_index, units_by_index
from ddcal_core.metrics.class_major import row_chunks
from ddcal_core.metrics.scores import check_probabilities


@dataclass(frozen=True)
class ClasswiseSums:
    """What the classwise error needs of the samples; `+` joins those of other samples.

    Attributes:
        classes: for each class k the sums of p_k against [y = k], over all samples.
    """

    classes: tuple[BinSums, ...]

    def __add__(self, other: "ClasswiseSums") -> "ClasswiseSums":
        """The sums of both; ValueError where the numbers of classes or bins differ."""
        if len(self.classes) != len(other.classes):
            raise ValueError(
                f"wanted sums of {len(self.classes)} classes to add, got {len(other.classes)}"
            )
        return ClasswiseSums(tuple(map(operator.add, self.classes, other.classes)))

    @property
    def classwise_calibration_error(self) -> float:
        """The mean over all classes of the ECE of p_k against [y = k], in [0, 1]."""
        errors = [sums.expected_calibration_error for sums in self.classes]
        return sum(errors) / len(errors)


def classwise_sums(probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS) -> ClasswiseSums:
    """The sums of these samples by the probability of each class.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width.

    Returns:
        Sums to add to others, or to read the error from.

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.
    """
    check_probabilities(probabilities, labels)
    parts = [
        _sums_of_part(probabilities[part].double(), labels[part], n_bins)
        for part in row_chunks(probabilities)
    ]
    return functools.reduce(operator.add, parts)


def classwise_calibration_error(
    probabilities: Tensor, labels: Tensor, n_bins: int = N_BINS
) -> float:
    """Classwise (static) ECE: the mean over classes k of the ECE of p_k against [y = k].

    All K classes count, those without a label as well: a model that gives them probability is
    wrong about them.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.
        n_bins: bins of equal width, (a, b], for the probability of each class.

    Returns:
        In [0, 1].

    Raises:
        ValueError: empty, misshapen, no probabilities, a label out of range, or no bins.

    Source:
        Nixon et al., CVPR workshops 2019 (static calibration error); Kull et al., NeurIPS 2019.
    """
    return classwise_sums(probabilities, labels, n_bins).classwise_calibration_error


def _sums_of_part(probabilities: Tensor, labels: Tensor, n_bins: int) -> ClasswiseSums:
    n_classes = probabilities.shape[1]
    first_bin = torch.arange(n_classes, device=labels.device) * n_bins
    # Class k's bins lie behind those of the classes before it: one count serves all classes.
    index = bin_index(probabilities, n_bins) + first_bin
    at_label = index.gather(1, labels[:, None])[:, 0]
    n_sums = n_classes * n_bins
    count = torch.bincount(index.flatten(), minlength=n_sums).tolist()
    right = torch.bincount(at_label, minlength=n_sums).tolist()
    units = units_by_index(index.flatten(), probabilities.flatten(), n_sums)
    return ClasswiseSums(
        tuple(
            BinSums(tuple(count[part]), tuple(right[part]), tuple(units[part]))
            for part in (slice(k * n_bins, (k + 1) * n_bins) for k in range(n_classes))
        )
    )
