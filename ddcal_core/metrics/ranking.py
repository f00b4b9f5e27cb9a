"""How well confidence ranks right predictions above wrong ones."""

import torch
from torch import Tensor

from ddcal_core.metrics.scores import confidence_and_hits


def area_under_risk_coverage(probabilities: Tensor, labels: Tensor) -> float:
    """AURC: the mean over k of the error rate among the k most confident predictions.

    Samples of equal confidence share their mean error, so that their order does not matter. It
    needs all confidences at once. Float32 softmax rounds large logits to ties at 1: pass float64
    probabilities to keep their order.

    Args:
        probabilities: (N, K), N >= 1, rows summing to 1.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        In [0, 1]; smaller is better, for a given accuracy.

    Raises:
        ValueError: empty, misshapen, no probabilities, or a label out of range.

    Source:
        Geifman, Uziel and El-Yaniv, ICLR 2019.
    """
    confidence, is_right = confidence_and_hits(probabilities, labels)
    order = confidence.argsort(descending=True)
    # 2 is above every confidence: the most confident sample begins the first group of equals.
    is_first = confidence[order].diff(prepend=confidence.new_tensor([2.0])) != 0
    group = is_first.cumsum(0) - 1
    count = torch.bincount(group)
    wrong = torch.bincount(group, (~is_right[order]).double())
    shared = (wrong / count).repeat_interleave(count)
    n_covered = torch.arange(1, len(labels) + 1, dtype=torch.float64, device=shared.device)
    return float((shared.cumsum(0) / n_covered).mean())
