import math
import statistics

import pytest
import torch
from torch import nn

from ddcal_core.calibration.masked_logits import largest_logits_under_masks, masked_logits
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.masks import MaskSpec
from ddcal_core.training.masking import mask_images


def test_the_numbers_are_those_of_slow_loops():
    """Mean and deviation of all, and the root of the mean variance of each image."""
    largest = torch.randn((4, 7), generator=seeded_generator(0), dtype=torch.float64) * 3 + 5
    got = masked_logits(largest)
    rows = largest.tolist()
    every = [value for row in rows for value in row]
    assert got.mean == pytest.approx(statistics.mean(every))
    assert got.deviation == pytest.approx(statistics.stdev(every))
    variances = [statistics.variance([row[k] for row in rows]) for k in range(7)]
    assert got.over_masks == pytest.approx(math.sqrt(statistics.mean(variances)))


def test_one_mask_says_nothing_of_others():
    """Nor one image of the spread over images."""
    assert masked_logits(torch.tensor([[1.0, 3.0]])).over_masks == 0
    assert masked_logits(torch.tensor([[2.0]])).deviation == 0
    with pytest.raises(ValueError, match=r"got values of shape \(0, 3\)"):
        masked_logits(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="wanted finite"):
        masked_logits(torch.tensor([[math.nan]]))


@pytest.mark.parametrize("ratio", [0.0, 0.6])
def test_a_network_is_asked_under_the_masks_of_mts(ratio):
    """Mask by mask from the generators of the fit; in evaluation mode."""
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(18, 3))
    images = torch.randn((5, 2, 3, 3), generator=seeded_generator(1))
    mask = MaskSpec(ratio=ratio)
    got = largest_logits_under_masks(network, images, mask, seed=7, n_draws=3)
    network.eval()
    for draw in range(3):
        masked = mask_images(mask, images, seeded_generator(7, "mts", draw))
        with torch.no_grad():
            wanted = network(masked).double().max(1).values
        torch.testing.assert_close(got[draw], wanted)
    assert (masked_logits(got).over_masks == 0) == (ratio == 0)


def test_masks_make_logits_of_a_linear_network_smaller():
    """Positive weights on positive pixels: with half of them gone half of the logit is left."""
    network = nn.Linear(100, 2, bias=False)
    nn.init.constant_(network.weight, 0.1)
    images = torch.ones(200, 1, 10, 10)
    flat = nn.Sequential(nn.Flatten(), network)
    found = [
        masked_logits(
            largest_logits_under_masks(flat, images, MaskSpec(ratio=ratio), seed=0, n_draws=4)
        )
        for ratio in (0.0, 0.5)
    ]
    assert found[0].mean == pytest.approx(10.0)
    assert found[1].mean == pytest.approx(5.0, abs=0.1)
    # A binomial of 100 pixels at one half deviates by 5, each pixel counting a tenth.
    assert found[1].deviation == pytest.approx(0.5, rel=0.1)
    assert found[1].over_masks == pytest.approx(0.5, rel=0.1)
