"""Our values beside those that other libraries gave for the same data.

The numbers of torchmetrics 1.9.0, netcal 1.4.0, relplot 1.0.3 and uncertainty-calibration 0.1.4
(verified_calibration) were printed by those libraries, on all three samples (`python -m
benchmarks.peer_metrics` prints them again); none of them is needed to run this. scikit-learn is
asked while tests run, in test_metrics and test_metrics_family, as are loops in float64.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from ddcal_core.metrics import (
    adaptive_calibration_error,
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    root_mean_square_calibration_error,
    signed_calibration_gap,
    smooth_calibration_error,
)
from ddcal_core.seeding import seeded_generator


def ordinary():
    """1,995 = 15 * 133 samples of six classes, no ties, gaps that vary: ordinary data."""
    generator = seeded_generator(0, "both signs")
    logits = torch.randn((1995, 6), generator=generator, dtype=torch.float64) * 2
    labels = torch.randint(6, (1995,), generator=generator)
    follows = torch.rand(1995, generator=generator) < 0.6
    return logits.softmax(1), torch.where(follows, logits.argmax(1), labels)


def tied():
    """Confidences .5, .6, ..., 1 of forty samples each, right too often and too seldom in turn."""
    first = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], dtype=torch.float64)
    first = first.repeat_interleave(40)
    n_right = torch.tensor([36, 10, 38, 20, 30, 33]).repeat_interleave(40)
    is_right = torch.arange(240) % 40 < n_right
    return torch.stack([first, 1 - first], 1), (~is_right).long()


def saturated():
    """Float32 softmax of large logits: many confidences exactly 1."""
    generator = seeded_generator(0, "saturated")
    logits = torch.randn((800, 5), generator=generator) * 30
    labels = torch.randint(5, (800,), generator=generator)
    follows = torch.rand(800, generator=generator) < 0.6
    return logits.softmax(1), torch.where(follows, logits.argmax(1), labels)


def hits(probabilities, labels):
    """Confidences and hits as numpy arrays."""
    rows = probabilities.double().numpy()
    return rows.max(1), (rows.argmax(1) == labels.numpy()).astype(float)


def ece_of_groups(index, confidence, right):
    """The ECE of samples grouped in any way."""
    n = len(confidence)
    return sum(
        abs((right[index == m] - confidence[index == m]).sum()) / n for m in np.unique(index)
    )


@pytest.mark.parametrize(
    ("metric", "peers"),
    [
        (
            expected_calibration_error,
            {"torchmetrics": 0.17728567, "netcal": 0.17728562, "verified_calibration": 0.17728562},
        ),
        (root_mean_square_calibration_error, {"torchmetrics": 0.20461637}),
        (adaptive_calibration_error, {"verified_calibration": 0.182044835991468}),
        (debiased_calibration_error, {"verified_calibration": 0.203770666624761}),
        (smooth_calibration_error, {"relplot": 0.14604049}),
    ],
)
def test_on_ordinary_data_all_agree(metric, peers):
    """Where no convention matters the peers' values are ours: to float32, or relplot's 0.001."""
    tolerance = {"torchmetrics": 1e-7, "relplot": 1e-3}
    ours = metric(*ordinary())
    for peer, value in peers.items():
        assert ours == pytest.approx(value, abs=tolerance.get(peer, 1e-8)), peer


@pytest.mark.parametrize(
    ("samples", "metric", "peers"),
    [
        (
            tied,
            expected_calibration_error,
            {"torchmetrics": 0.27083325, "netcal": 0.2708333333, "verified": 0.2708333333},
        ),
        (tied, root_mean_square_calibration_error, {"torchmetrics": 0.28522646}),
        (tied, adaptive_calibration_error, {"verified": 0.2708333333}),
        (tied, debiased_calibration_error, {"verified": 0.2783498383}),
        (
            saturated,
            expected_calibration_error,
            {"torchmetrics": 0.29399487, "netcal": 0.2939948129, "verified": 0.2939948129},
        ),
        (saturated, adaptive_calibration_error, {"verified": 0.2899589211}),
    ],
)
def test_on_ties_and_at_one_most_agree(samples, metric, peers):
    """Ties kept together, and 1 in the last bin or in one of its own, where that does not matter.

    The cells that disagree have tests of their own below.
    """
    for peer, value in peers.items():
        tolerance = 2e-7 if peer == "torchmetrics" else 1e-9
        assert metric(*samples()) == pytest.approx(value, abs=tolerance), peer


@pytest.mark.parametrize(
    ("samples", "value", "peer"), [(tied, 0.4, "both"), (saturated, 0.3152720119, "netcal")]
)
def test_the_largest_gap_agrees_on_ties_and_at_one(samples, value, peer):
    """MCE of torchmetrics and netcal on ties, of netcal where many confidences are 1."""
    assert maximum_calibration_error(*samples()).value == pytest.approx(value, abs=1e-9), peer


def test_equal_mass_where_it_cannot_be_equal():
    """800 samples in 15 bins: verified_calibration gives the first bins one more, we spread them.

    Debiased .298295 there, .298892 here; that loop over its bins gives its number back.
    """
    samples = saturated()
    confidence, right = hits(*samples)
    parts = np.array_split(np.sort(confidence), 15)
    middles = {(one[-1] + next_[0]) / 2 for one, next_ in itertools.pairwise(parts)}
    index = np.searchsorted(sorted(middles | {1.0}), confidence)
    total = 0.0
    for m in np.unique(index):
        n, share = (index == m).sum(), right[index == m].mean()
        gap = share - confidence[index == m].mean()
        total += n / 800 * (gap**2 - share * (1 - share) / (n - 1))
    assert math.sqrt(total) == pytest.approx(0.2982949719718821, abs=1e-9)
    assert debiased_calibration_error(*samples) == pytest.approx(0.2988920482, abs=1e-9)


@pytest.mark.parametrize(("largest", "relplot"), [(0.99, 0.1141841838), (0.97, 0.1112739183)])
def test_smooth_error_of_ties_agrees_off_the_ends(largest, relplot):
    """Forty confidences at 1 moved off it: relplot's number comes to ours; see the last test."""
    probabilities, labels = tied()
    relplot_with_ones = 0.1112116188
    assert smooth_calibration_error(probabilities, labels) > relplot_with_ones + 0.004
    moved = probabilities.clone()
    moved[probabilities[:, 0] == 1] = torch.tensor([largest, 1 - largest], dtype=torch.float64)
    assert smooth_calibration_error(moved, labels) == pytest.approx(relplot, abs=5e-4)


def test_on_ordinary_data_the_largest_gap_agrees():
    """MCE: .32530829 of torchmetrics and netcal; only we say that 174 samples set it."""
    largest = maximum_calibration_error(*ordinary())
    assert largest.value == pytest.approx(0.3253083954628393, abs=1e-12)
    assert largest.count == 174


def test_confidence_one_has_no_bin_of_its_own():
    """Torchmetrics puts 1.0 in a 16th bin: its RMSCE and MCE of saturated data are larger."""
    samples = saturated()
    confidence, right = hits(*samples)
    assert (confidence == 1).sum() > 100
    rmsce = root_mean_square_calibration_error(*samples)
    mce = maximum_calibration_error(*samples).value
    assert (rmsce, mce) == pytest.approx((0.30159067, 0.31527201), abs=1e-8)
    index = np.minimum((confidence * 15).astype(int), 15)  # [a, b), and 15 for exactly 1
    gaps = [(right - confidence)[index == m] for m in np.unique(index)]
    theirs = math.sqrt(sum(len(gap) / 800 * gap.mean() ** 2 for gap in gaps))
    assert theirs == pytest.approx(0.30173924565315247, abs=1e-6)
    assert max(abs(gap.mean()) for gap in gaps) == pytest.approx(0.326107919216156, abs=1e-6)


def test_one_sided_gaps_hide_every_mistake_in_bins():
    """Over-confident throughout, any binning gives mean confidence - accuracy: no test of bins."""
    probabilities, _ = ordinary()
    samples = probabilities, probabilities.argmin(1)
    confidence, right = hits(*samples)
    gap = signed_calibration_gap(*samples)
    for n_bins in (1, 2, 3, 14, 15):
        assert expected_calibration_error(*samples, n_bins) == pytest.approx(gap)
    anything = np.arange(1995) % 7
    assert ece_of_groups(anything, confidence, right) == pytest.approx(gap)


def test_closed_edges_matter_where_gaps_have_both_signs():
    """Merging 9/10 with 1 as [a, b) does, or with 8/10 as (a, b] does with 5 bins: other values."""
    samples = tied()
    confidence, right = hits(*samples)
    ours = expected_calibration_error(*samples, 5)
    upper_closed = np.ceil(np.round(confidence * 5, 9)) - 1
    lower_closed = np.minimum(np.floor(np.round(confidence * 5, 9)), 4)
    assert ours == pytest.approx(ece_of_groups(upper_closed, confidence, right))
    assert abs(ours - ece_of_groups(lower_closed, confidence, right)) > 0.01


def test_bins_are_counted_not_their_edges():
    """MAPIE's linspace(0, 1, 10) makes nine bins of ten: that is our value for nine."""
    samples = ordinary()
    confidence, right = hits(*samples)
    theirs = ece_of_groups(np.searchsorted(np.linspace(0, 1, 10), confidence), confidence, right)
    assert expected_calibration_error(*samples, 9) == pytest.approx(theirs)
    assert abs(expected_calibration_error(*samples, 10) - theirs) > 1e-4


def test_splitting_ties_depends_on_their_order():
    """Equal-count slices of tied confidences (torch-uncertainty) give two values, ours is one."""
    samples = tied()
    confidence, right = hits(*samples)
    values = set()
    for hits_first in (1, -1):
        order = np.lexsort([-hits_first * right, confidence])
        index = np.empty(240)
        for m, part in enumerate(np.array_split(order, 15)):
            index[part] = m
        values.add(round(ece_of_groups(index, confidence, right), 6))
        shuffled = samples[0][order], samples[1][order]
        assert adaptive_calibration_error(*shuffled, 15) == pytest.approx(0.27083333)
    assert len(values) == 2
    assert max(values) - min(values) > 0.05


def test_absent_classes_keep_their_probability():
    """Probmetrics drops classes that no label has and renormalises: another ECE."""
    probabilities, labels = ordinary()
    labels = labels.clamp_max(3)
    kept = probabilities[:, :4] / probabilities[:, :4].sum(1, keepdim=True)
    theirs = expected_calibration_error(kept, labels)
    assert abs(expected_calibration_error(probabilities, labels) - theirs) > 0.01
    assert classwise_calibration_error(probabilities, labels) > 0.05


def test_nll_of_probabilities_is_that_of_the_clip():
    """Float32 probabilities that rounded to 0 give the log of a clip; only logits the truth."""
    generator = seeded_generator(0, "saturated")
    logits = torch.randn((800, 5), generator=generator) * 30
    labels = saturated()[1]
    truth = float(torch.logsumexp(logits.double(), 1).mean())
    truth -= float(logits.double().gather(1, labels[:, None]).mean())
    assert negative_log_likelihood(logits, labels) == pytest.approx(truth, rel=1e-12)
    at_label = logits.softmax(1).gather(1, labels[:, None])
    assert bool((at_label == 0).any())
    clipped = float(-at_label.clamp_min(torch.finfo(torch.float32).eps).log().mean())
    assert clipped < 0.95 * truth


def test_smooth_error_of_saturated_data_is_the_integral_not_relplots():
    """Relplot counts the ends of its mesh fully: .2751 where the integral is .2894, all mass at 1.

    All gaps having one sign, the integral cannot be far from mean confidence - accuracy.
    """
    samples = saturated()
    ours, relplot = smooth_calibration_error(*samples), 0.27507500285747843
    gap = signed_calibration_gap(*samples)
    assert ours == pytest.approx(0.2894306854524551, abs=1e-7)  # by Simpson's rule and brentq
    assert abs(ours - gap) < abs(relplot - gap) / 3
