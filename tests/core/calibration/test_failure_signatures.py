import math

import pytest
import torch

from ddcal_core.calibration.failure_signatures import (
    accuracy_failure,
    direction_failure,
    logit_spread,
    temperature_failure,
)


def predictions(confidence, n_right, n):
    """Give predictions of class 0 of three at one confidence, the first n_right of them right."""
    rest = (1 - confidence) / 2
    probabilities = torch.tensor([[confidence, rest, rest]], dtype=torch.float64).repeat(n, 1)
    return probabilities, torch.tensor([0] * n_right + [1] * (n - n_right))


@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.95])
@pytest.mark.parametrize("n", [50, 1000])
def test_a_direction_is_named_beyond_two_deviations_of_chance(confidence, n):
    """The binomial's own deviation decides: the last count inside it is silent, the next not."""
    half_width = 1.959963984540054 * math.sqrt(n * confidence * (1 - confidence))
    fewest, most = math.ceil(n * confidence - half_width), math.floor(n * confidence + half_width)
    assert direction_failure(*predictions(confidence, fewest, n)) is None
    assert direction_failure(*predictions(confidence, fewest - 1, n)) == "under_calibration"
    assert direction_failure(*predictions(confidence, min(most, n), n)) is None
    if most < n:
        assert direction_failure(*predictions(confidence, most + 1, n)) == "over_calibration"


def test_a_calibrated_network_is_named_in_one_case_of_twenty():
    """On labels drawn from the probabilities about 5 % of samples are given a name."""
    generator = torch.Generator().manual_seed(0)
    named = 0
    for _ in range(400):
        probabilities = torch.softmax(2 * torch.randn(200, 5, generator=generator).double(), 1)
        labels = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
        named += direction_failure(probabilities, labels) is not None
    assert 0.02 < named / 400 < 0.09


def test_certain_predictions_are_judged_too():
    """Confidence 1 leaves no chance: one error is under-calibration, none is nothing."""
    assert direction_failure(*predictions(1.0, 10, 10)) is None
    assert direction_failure(*predictions(1.0, 9, 10)) == "under_calibration"


@pytest.mark.parametrize(
    ("masked", "clean", "failure"),
    [
        (0.10, 1.0, "accuracy_lost"),
        (0.549, 1.0, "accuracy_lost"),
        (0.551, 1.0, None),
        (0.05, 0.5, "accuracy_lost"),
        (0.31, 0.5, None),
        (0.02, 0.08, None),
    ],
)
def test_accuracy_is_lost_below_half_of_what_is_beyond_guessing(masked, clean, failure):
    """Of ten classes; a network that only guesses has nothing to lose."""
    assert accuracy_failure(masked, clean, n_classes=10) == failure


def test_spread_is_the_largest_logit_above_its_rows_mean():
    """By hand for two rows, at any offset of a row; constant rows have none."""
    logits = torch.tensor([[3.0, 0.0, 0.0], [10.0, 16.0, 10.0]])
    assert logit_spread(logits, torch.tensor([0, 1])) == pytest.approx((2 + 4) / 2)
    assert logit_spread(torch.full((4, 3), 7.0), torch.zeros(4, dtype=torch.int64)) == 0
    with pytest.raises(ValueError, match="NaN"):
        logit_spread(torch.full((4, 3), math.nan), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_temperatures_are_judged_relative_to_the_logits(scale):
    """The same probabilities get the same name at any scale of the logits."""
    logits = torch.tensor([[0.0, 3.0, 0.0]], dtype=torch.float64) * scale
    spread = logit_spread(logits, torch.tensor([1]))
    assert spread == pytest.approx(2 * scale)
    assert temperature_failure(1.0 * scale, spread) is None
    assert temperature_failure(20.1 * scale, spread) == "nearly_uniform"
    assert temperature_failure(0.039 * scale, spread) == "nearly_certain"
    flat = torch.softmax(logits / (20.1 * scale), 1)
    assert float(flat.max()) < 1.11 / 3
