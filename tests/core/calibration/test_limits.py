import math

import numpy as np
import pytest
import torch

from ddcal_core.calibration.masked import infinite_temperature_limit, zero_temperature_limit
from ddcal_core.metrics import (
    accuracy,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    signed_calibration_gap,
)
from ddcal_core.seeding import seeded_generator


def some_logits(seed, n=200, n_classes=4, *, tied=False):
    """Random logits, on request whole numbers from 0 to 2 with many ties, and labels."""
    generator = seeded_generator(seed, "logits")
    logits = torch.randn((n, n_classes), generator=generator, dtype=torch.float64)
    if tied:
        logits = torch.randint(3, (n, n_classes), generator=generator).double()
    return logits, torch.randint(n_classes, (n,), generator=generator)


def measured(logits, labels, temperature):
    """Accuracy, Brier, ECE and signed gap at a temperature, with the logits' own predictions."""
    probabilities = (logits / temperature).softmax(1)
    return (
        accuracy(logits, labels),
        brier_score(probabilities, labels),
        expected_calibration_error(probabilities, labels),
        signed_calibration_gap(probabilities, labels),
    )


def told(limit):
    """The same four numbers of a limit."""
    return limit.accuracy, limit.brier, limit.ece, limit.signed_gap


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_limit_at_zero_is_what_small_temperatures_approach(seed, tied):
    """The metrics at T = 1e-7 are the limit's, with ties of the largest logit and without."""
    logits, labels = some_logits(seed, tied=tied)
    limit = zero_temperature_limit(logits, labels)
    assert told(limit) == pytest.approx(measured(logits, labels, 1e-7), abs=1e-5)
    assert limit.nll == math.inf


@pytest.mark.parametrize("seed", range(4))
def test_limit_at_zero_without_ties_is_told_by_the_accuracy(seed):
    """ECE and gap are 1 - accuracy, Brier twice that."""
    logits, labels = some_logits(seed)
    wrong = float(np.mean(logits.numpy().argmax(1) != labels.numpy()))
    limit = zero_temperature_limit(logits, labels)
    assert told(limit) == pytest.approx((1 - wrong, 2 * wrong, wrong, wrong), abs=1e-12)


def test_limit_at_zero_of_perfect_predictions_is_perfect():
    """All right: every error is 0, the NLL too."""
    logits, _ = some_logits(0)
    limit = zero_temperature_limit(logits, logits.argmax(1))
    assert (limit.accuracy, limit.nll, limit.brier, limit.ece) == (1.0, 0.0, 0.0, 0.0)


def test_limit_at_zero_shares_ties():
    """Two of three tied: 1/2 each. Label second: counted wrong, Brier 1/2, NLL log 2 (by hand)."""
    limit = zero_temperature_limit(torch.tensor([[4.0, 4.0, 0.0]]), torch.tensor([1]))
    assert told(limit) == pytest.approx((0.0, 0.5, 0.5, 0.5))
    assert limit.nll == pytest.approx(math.log(2))
    limit = zero_temperature_limit(torch.tensor([[4.0, 4.0, 0.0]]), torch.tensor([2]))
    assert told(limit) == pytest.approx((0.0, 1.5, 0.5, 0.5))
    assert limit.nll == math.inf


@pytest.mark.parametrize("n_classes", [2, 4, 15])
@pytest.mark.parametrize("seed", range(4))
def test_limit_at_infinity_is_what_large_temperatures_approach(seed, n_classes):
    """The metrics at T = 1e7 are the limit's; predictions stay the logits' own."""
    logits, labels = some_logits(seed, n_classes=n_classes)
    limit = infinite_temperature_limit(logits, labels)
    assert told(limit) == pytest.approx(measured(logits, labels, 1e7), abs=1e-5)
    assert limit.nll == pytest.approx(negative_log_likelihood(logits, labels, 1e7), abs=1e-5)


@pytest.mark.parametrize("limit", [zero_temperature_limit, infinite_temperature_limit])
@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([0])),
        (torch.zeros(1, 2), torch.tensor([2])),
    ],
)
def test_limits_refuse_what_metrics_refuse(limit, logits, labels):
    """Empty, NaN and labels out of range have no limit."""
    with pytest.raises(ValueError, match="wanted"):
        limit(logits, labels)
