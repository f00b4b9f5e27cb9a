import math
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.calibration import calibration_curve

from ddcal_core.metrics import (
    BinSums,
    adaptive_calibration_error,
    area_under_risk_coverage,
    bin_sums,
    bin_sums_of_logits,
    classwise_calibration_error,
    classwise_sums,
    debiased_calibration_error,
    ece_interval,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_bins,
    root_mean_square_calibration_error,
    signed_calibration_gap,
    smooth_calibration_error,
)
from ddcal_core.seeding import seeded_generator

BINNED = [
    root_mean_square_calibration_error,
    maximum_calibration_error,
    classwise_calibration_error,
    adaptive_calibration_error,
    debiased_calibration_error,
]
FAMILY = [*BINNED, area_under_risk_coverage, smooth_calibration_error]


def some_probabilities(seed, n=300, n_classes=5, scale=2.0, *, levels=None):
    """Probabilities and labels right half the time: gaps of both signs; on request with ties."""
    generator = seeded_generator(seed, "probabilities")
    logits = torch.randn((n, n_classes), generator=generator, dtype=torch.float64) * scale
    if levels:
        logits = (logits * levels).round() / levels
    labels = torch.randint(n_classes, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < 0.5
    return logits.softmax(1), torch.where(follows, logits.argmax(1), labels)


def two_classes(confidences, rights):
    """Probabilities of two classes with the first as prediction."""
    first = torch.tensor(confidences, dtype=torch.float64)
    labels = torch.tensor([0 if right else 1 for right in rights])
    return torch.stack([first, 1 - first], 1), labels


def confidences_and_hits(probabilities, labels):
    """Pairs (confidence, right) by a plain loop; the first of tied classes is the prediction."""
    pairs = []
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        pairs.append((confidence, row.index(confidence) == label))
    return pairs


def width_groups(pairs, n_bins=15):
    """Pairs by bin (a, b] of equal width, empty bins left out."""
    edges, groups = np.linspace(0, 1, n_bins + 1), {}
    for confidence, right in pairs:
        m = next(m for m in range(n_bins) if confidence <= edges[m + 1] or m == n_bins - 1)
        groups.setdefault(m, []).append((confidence, right))
    return [groups[m] for m in sorted(groups)]


def mass_groups(pairs, n_bins=15):
    """Pairs by equal mass: walk up the confidences, close a bin where ranks and ties allow."""
    pairs, groups, start = sorted(pairs), [], 0
    for m in range(1, n_bins + 1):
        end = max(start, -(-m * len(pairs) // n_bins))
        while 0 < end < len(pairs) and pairs[end][0] == pairs[end - 1][0]:
            end += 1
        if end > start:
            groups.append(pairs[start:end])
        start = end
    return groups


def mean_gap(group):
    """Accuracy - mean confidence of a group of pairs."""
    return sum(right - confidence for confidence, right in group) / len(group)


def slow_ece(groups):
    """Sum of n_m / N |gap_m|."""
    n = sum(len(group) for group in groups)
    return sum(len(group) / n * abs(mean_gap(group)) for group in groups)


def slow_debiased(groups):
    """Kumar, Liang and Ma's plug-in less the variance, as they write it."""
    n, total = sum(len(group) for group in groups), 0.0
    for group in groups:
        if len(group) > 1:
            share = sum(right for _, right in group) / len(group)
            total += (
                len(group) / n * (mean_gap(group) ** 2 - share * (1 - share) / (len(group) - 1))
            )
    return math.sqrt(max(0.0, total))


def slow_aurc(pairs):
    """Average over all orders of tied samples: each tied sample stands for their mean error."""
    pairs = sorted(pairs, key=lambda pair: -pair[0])
    errors = []
    for confidence, _ in pairs:
        tied = [not right for c, right in pairs if c == confidence]
        errors.append(sum(tied) / len(tied))
    return float(np.mean([sum(errors[:k]) / k for k in range(1, len(errors) + 1)]))


def slow_smooth(pairs, n_points=1001):
    """SmoothECE by reflected normal densities, Simpson's rule and brentq."""
    c, a = np.array(pairs).T
    t = np.linspace(0, 1, n_points)
    weights = np.ones(n_points)
    weights[1:-1:2], weights[2:-1:2] = 4, 2

    def at_width(s):
        kernel = sum(
            norm.pdf(t[:, None], sign * c + 2 * shift, s)
            for shift in (-1, 0, 1)
            for sign in (-1, 1)
        )
        return float(weights @ np.abs(kernel @ (a - c)) / len(c)) / (3 * (n_points - 1))

    return brentq(lambda s: at_width(s) - s, 2e-3, 1.0, xtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 150),
    st.integers(2, 12),
    st.sampled_from([0.01, 0.3, 2, 30]),
    st.sampled_from([1, 2, 10, 15, 97]),
    st.sampled_from([None, 1, 3]),
)
def test_the_family_equals_plain_loops(seed, n, n_classes, scale, n_bins, levels):
    """Every binned error and AURC equal loops over samples, with ties and without."""
    samples = some_probabilities(seed, n, n_classes, scale, levels=levels)
    pairs = confidences_and_hits(*samples)
    width, mass = width_groups(pairs, n_bins), mass_groups(pairs, n_bins)
    squares = sum(len(group) / n * mean_gap(group) ** 2 for group in width)
    largest = max(abs(mean_gap(group)) for group in width)
    mce = maximum_calibration_error(*samples, n_bins)
    assert root_mean_square_calibration_error(*samples, n_bins) == pytest.approx(squares**0.5)
    assert mce.value == pytest.approx(largest)
    assert mce.count in [
        len(group) for group in width if abs(mean_gap(group)) == pytest.approx(largest)
    ]
    assert adaptive_calibration_error(*samples, n_bins) == pytest.approx(slow_ece(mass), abs=1e-12)
    assert debiased_calibration_error(*samples, n_bins) ** 2 == pytest.approx(
        slow_debiased(mass) ** 2, abs=1e-12
    )
    assert area_under_risk_coverage(*samples) == pytest.approx(slow_aurc(pairs), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "n_classes"), [(1, 2), (40, 3), (200, 30), (3000, 7)])
def test_classwise_is_the_mean_of_one_against_the_rest(n, n_classes, dtype):
    """For each class the loop's ECE of p_k against [y = k], averaged over all classes."""
    probabilities, labels = some_probabilities(n, n, n_classes)
    probabilities = probabilities.to(dtype)
    errors = [
        slow_ece(
            width_groups(
                [
                    (p, y == k)
                    for p, y in zip(probabilities[:, k].tolist(), labels.tolist(), strict=True)
                ]
            )
        )
        for k in range(n_classes)
    ]
    got = classwise_calibration_error(probabilities, labels)
    assert got == pytest.approx(float(np.mean(errors)), rel=1e-11)


def test_classwise_counts_classes_that_no_label_has():
    """All labels 0, two thirds of the probability elsewhere: absent classes are wrong by theirs."""
    probabilities = torch.tensor([[0.34, 0.33, 0.33]], dtype=torch.float64).repeat(4, 1)
    labels = torch.zeros(4, dtype=torch.int64)
    got = classwise_calibration_error(probabilities, labels)
    assert got == pytest.approx((0.66 + 0.33 + 0.33) / 3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_bins_are_scikit_learns(seed, strategy):
    """scikit-learn's calibration_curve of the hits has the means of our bins."""
    samples = some_probabilities(seed, 15 * 40)
    pairs = confidences_and_hits(*samples)
    confidence, right = map(np.array, zip(*pairs, strict=True))
    share, mean = calibration_curve(right, confidence, n_bins=15, strategy=strategy)
    if strategy == "uniform":
        bins = reliability_bins(*samples)
        assert [c for c in bins.confidence if c is not None] == pytest.approx(mean)
        assert [a for a in bins.accuracy if a is not None] == pytest.approx(share)
    else:  # 600 distinct values: its interpolated quantiles cut at the same ranks
        error = float(np.mean(np.abs(share - mean)))
        assert adaptive_calibration_error(*samples) == pytest.approx(error, abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [None, 2])
def test_smooth_error_is_its_integral(seed, levels):
    """SmoothECE equals a brute-force integral with reflections, solved by brentq."""
    samples = some_probabilities(seed, 150, 4, levels=levels)
    wanted = slow_smooth(confidences_and_hits(*samples))
    assert smooth_calibration_error(*samples) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("confidence", "share"), [(0.5, 1.0), (1.0, 0.8), (0.51, 0.51), (0.9, 0.99), (0.9, 0.0)]
)
def test_smooth_error_of_one_confidence_is_its_gap(confidence, share):
    """One confidence for all has one gap, which no kernel changes: mass is reflected, not lost."""
    samples = two_classes([confidence] * 100, [i < round(100 * share) for i in range(100)])
    assert smooth_calibration_error(*samples) == pytest.approx(abs(share - confidence), abs=1e-9)


def test_smooth_error_does_not_jump_at_an_edge():
    """Moved by 1e-9 across a bin's edge the ECE jumps, SmoothECE does not (discontinuity)."""
    edge = 9 / 15
    below = two_classes([edge - 1e-9] * 50 + [edge + 0.01] * 50, [True] * 50 + [False] * 50)
    above = two_classes([edge + 1e-9] * 50 + [edge + 0.01] * 50, [True] * 50 + [False] * 50)
    assert abs(expected_calibration_error(*below) - expected_calibration_error(*above)) > 0.3
    assert smooth_calibration_error(*below) == pytest.approx(
        smooth_calibration_error(*above), abs=1e-7
    )


def test_equal_mass_bins_keep_ties_together():
    """Sixty samples at .8 and one at .9 are two bins, in any order; split ties would be fifteen."""
    confidences, rights = [0.8] * 60 + [0.9], [True] * 30 + [False] * 30 + [True]
    wanted = (60 * 0.3 + 0.1) / 61
    assert adaptive_calibration_error(*two_classes(confidences, rights)) == pytest.approx(wanted)
    order = np.random.default_rng(0).permutation(61)
    shuffled = two_classes([confidences[i] for i in order], [rights[i] for i in order])
    assert adaptive_calibration_error(*shuffled) == pytest.approx(wanted)


def test_debiased_error_is_known_by_hand():
    """Ten at .9 with 6 right: .09 less .24 / 9; a bin of one adds nothing; below 0 is 0."""
    ten = two_classes([0.9] * 10, [True] * 6 + [False] * 4)
    assert debiased_calibration_error(*ten) == pytest.approx(math.sqrt(0.09 - 0.24 / 9))
    assert debiased_calibration_error(*two_classes([0.9], [False])) == 0
    assert debiased_calibration_error(*two_classes([0.6] * 10, [True] * 6 + [False] * 4)) == 0


def test_largest_gap_tells_how_many_set_it():
    """One wrong sample alone in its bin sets the maximum, and is counted as one."""
    samples = two_classes([0.7] * 10 + [0.99], [True] * 7 + [False] * 4)
    gap = maximum_calibration_error(*samples)
    assert (gap.bin, gap.count) == (14, 1)
    assert gap.value == pytest.approx(0.99)


def test_aurc_of_three_is_known_by_hand():
    """Right, wrong, right: errors 0, 1/2, 1/3; with the last two tied 0, 1/4, 1/3."""
    apart = two_classes([0.9, 0.8, 0.7], [True, False, True])
    assert area_under_risk_coverage(*apart) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    tied = two_classes([0.9, 0.8, 0.8], [True, False, True])
    assert area_under_risk_coverage(*tied) == pytest.approx((0 + 1 / 4 + 1 / 3) / 3)


@pytest.mark.parametrize("n_bins", [1, 15])
def test_one_sample_and_certainty(n_bins):
    """One sure prediction: every error is 0 when right and 1 when wrong."""
    for right in (True, False):
        samples = two_classes([1.0], [right])
        wanted = pytest.approx(0.0 if right else 1.0, abs=1e-11)
        assert root_mean_square_calibration_error(*samples, n_bins) == wanted
        assert maximum_calibration_error(*samples, n_bins).value == wanted
        assert classwise_calibration_error(*samples, n_bins) == wanted
        assert adaptive_calibration_error(*samples, n_bins) == wanted
        assert area_under_risk_coverage(*samples) == wanted
        assert smooth_calibration_error(*samples) == wanted
        assert debiased_calibration_error(*samples, n_bins) == 0


def test_one_class_is_always_right():
    """With K = 1 every probability is 1 and right: all errors are 0."""
    probabilities, labels = torch.ones(5, 1), torch.zeros(5, dtype=torch.int64)
    for metric in FAMILY:
        value = metric(probabilities, labels)
        assert (value.value if metric is maximum_calibration_error else value) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 300), st.integers(1, 6), st.floats(-3, 3))
def test_sums_of_shards_are_the_sums_of_all_to_the_last_bit(seed, n, n_shards, log10_scale):
    """Cut and shuffled in any way, float32 and float64, sums are equal, not nearly equal."""
    probabilities, labels = some_probabilities(seed, n, 4, 10**log10_scale)
    probabilities = probabilities.to(torch.float32 if seed % 2 else torch.float64)
    order = torch.randperm(n, generator=seeded_generator(seed, "order"))
    shards = [part for part in order.chunk(n_shards) if len(part)]
    for sums in (bin_sums, classwise_sums):
        joined = reduce(add, [sums(probabilities[part], labels[part]) for part in shards])
        assert joined == sums(probabilities, labels)


def test_errors_of_sums_are_those_of_samples():
    """What a sum tells is what the function of the samples gives."""
    samples = some_probabilities(3)
    sums = bin_sums(*samples)
    assert sums.n == 300
    assert sums.expected_calibration_error == expected_calibration_error(*samples)
    assert sums.root_mean_square_calibration_error == root_mean_square_calibration_error(*samples)
    assert sums.largest_gap == maximum_calibration_error(*samples)
    assert sums.reliability_bins == reliability_bins(*samples)
    assert sums.signed_calibration_gap == pytest.approx(signed_calibration_gap(*samples))
    assert classwise_sums(*samples).classwise_calibration_error == classwise_calibration_error(
        *samples
    )


def test_sums_of_different_bins_or_classes_do_not_add():
    """Fifteen bins and ten, four classes and five: refused."""
    samples, others = some_probabilities(0), some_probabilities(0, n_classes=4)
    with pytest.raises(ValueError, match="wanted sums of 15 bins to add, got 10"):
        bin_sums(*samples) + bin_sums(*samples, 10)
    with pytest.raises(ValueError, match="wanted sums of 5 classes to add, got 4"):
        classwise_sums(*samples) + classwise_sums(*others)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
@pytest.mark.parametrize(("n", "n_classes"), [(1, 1), (7, 3), (20_000, 10)])
def test_sums_of_logits_are_those_of_their_float64_softmax(n, n_classes, temperature, dtype):
    """Without making probabilities, in several chunks: the same counts, hits and ECE."""
    generator = seeded_generator(n, "logits")
    logits = (torch.randn((n, n_classes), generator=generator) * 4).to(dtype)
    labels = torch.randint(n_classes, (n,), generator=generator)
    got = bin_sums_of_logits(logits, labels, temperature=temperature)
    wanted = bin_sums((logits.double() / temperature).softmax(1), labels)
    assert (got.count, got.right) == (wanted.count, wanted.right)
    assert got.expected_calibration_error == pytest.approx(
        wanted.expected_calibration_error, abs=1e-13
    )


def test_ties_among_logits_go_to_the_first_class():
    """Of two largest logits the first is the prediction, the second counts as wrong."""
    logits = torch.tensor([[3.0, 3.0, 0.0], [3.0, 3.0, 0.0], [0.0, 1.0, 2.0]])
    assert sum(bin_sums_of_logits(logits, torch.tensor([0, 1, 2])).right) == 2
    assert sum(bin_sums_of_logits(logits, torch.tensor([1, 1, 2])).right) == 1


def test_sums_at_the_smallest_temperature_are_certain():
    """T = 5e-324, the least there is, gives confidence 1, shared where logits tie."""
    logits = torch.tensor([[3.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    sums = bin_sums_of_logits(logits, torch.tensor([0, 0]), temperature=5e-324)
    assert sums.confidence_units[14] == 2**62
    assert sums.confidence_units[7] == 2**61
    assert sum(sums.right) == 2


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_sums_of_logits_refuse_temperatures_that_are_none(temperature):
    """T has to be above 0 and finite."""
    with pytest.raises(ValueError, match="temperature above 0"):
        bin_sums_of_logits(torch.eye(2), torch.tensor([0, 1]), temperature=temperature)


def test_sums_are_exact_for_millions():
    """Five million times a confidence: the sum of whole units, not off by a rounding."""
    n, confidence = 5_000_000, 0.9
    first = torch.full((n,), confidence, dtype=torch.float64)
    sums = bin_sums(torch.stack([first, 1 - first], 1), torch.zeros(n, dtype=torch.int64))
    one = bin_sums(*two_classes([confidence], [True]))
    assert sums.confidence_units == tuple(units * n for units in one.confidence_units)
    assert one.confidence_units[13] == pytest.approx(confidence * 2**62, rel=1e-15)


def calibrated(seed, n=1000):
    """Probabilities of two classes whose hits are drawn with the confidence as the chance."""
    generator = seeded_generator(seed, "calibrated")
    confidences = 0.5 + torch.rand(n, generator=generator, dtype=torch.float64) / 2
    rights = torch.rand(n, generator=generator, dtype=torch.float64) < confidences
    return two_classes(confidences.tolist(), rights.tolist())


def test_interval_of_a_calibrated_model_starts_at_zero():
    """Of 40 calibrated models nearly all intervals hold 0, where percentile intervals do not."""
    low = [
        ece_interval(*calibrated(seed), generator=seeded_generator(seed), n_draws=200).low
        for seed in range(40)
    ]
    assert sum(value == 0 for value in low) >= 38


def test_interval_holds_the_true_error_as_often_as_it_says():
    """One confidence .8 and a chance of .6: the true ECE is .2; 80 % intervals hold it in 80 %."""
    held = 0
    for seed in range(200):
        rights = torch.rand(300, generator=seeded_generator(seed, "rights")) < 0.6
        samples = two_classes([0.8] * 300, rights.tolist())
        interval = ece_interval(*samples, generator=seeded_generator(seed), n_draws=200, level=0.8)
        held += interval.low <= 0.2 <= interval.high
    assert 140 <= held <= 180  # binomial(200, .8) within 3.5 deviations


def test_interval_equals_a_plain_loop_on_the_same_draws():
    """2 e - quantiles of the ECE of resamples, one by one, where e refutes calibration."""
    samples = two_classes([0.8, 0.95] * 30, [i % 3 == 0 for i in range(60)])
    got = ece_interval(*samples, generator=seeded_generator(0), n_draws=30, level=0.9)
    pairs = confidences_and_hits(*samples)
    drawn = torch.randint(60, (30, 60), generator=seeded_generator(0)).tolist()
    errors = [slow_ece(width_groups([pairs[i] for i in row])) for row in drawn]
    ece = slow_ece(width_groups(pairs))
    assert got.low == pytest.approx(2 * ece - np.quantile(errors, 0.95), abs=1e-12)
    assert got.high == pytest.approx(2 * ece - np.quantile(errors, 0.05), abs=1e-12)
    assert (got.level, got.low > 0) == (0.9, True)


@pytest.mark.parametrize(("n_draws", "level"), [(0, 0.95), (10, 0.0), (10, 1.0), (10, math.nan)])
def test_interval_refuses_no_draws_and_no_level(n_draws, level):
    """At least one draw, and a level between 0 and 1."""
    with pytest.raises(ValueError, match="at least one draw and a level"):
        ece_interval(
            *some_probabilities(0), generator=seeded_generator(0), n_draws=n_draws, level=level
        )


@pytest.mark.parametrize("metric", FAMILY)
@pytest.mark.parametrize("seed", range(2))
def test_order_of_samples_does_not_matter(metric, seed):
    """A permutation of tied samples changes nothing beyond rounding."""
    probabilities, labels = some_probabilities(seed, levels=1)
    order = torch.randperm(len(labels), generator=seeded_generator(seed, "order"))
    value, other = metric(probabilities, labels), metric(probabilities[order], labels[order])
    if metric is maximum_calibration_error:
        assert value == other
    else:
        assert other == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("metric", [*FAMILY, bin_sums, classwise_sums])
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), r"shape \(0, 2\)"),
        (torch.eye(2), torch.tensor([0, 2]), "wanted labels 0 to 1, got 0 to 2"),
        (torch.tensor([[0.5, math.nan]]), torch.tensor([0]), "NaN or infinite"),
        (torch.tensor([[math.inf, -math.inf]]), torch.tensor([0]), "NaN or infinite"),
        (torch.tensor([[2.0, -1.0]]), torch.tensor([0]), "wanted probabilities"),
    ],
)
def test_the_family_refuses_what_cannot_be(metric, scores, labels, message):
    """Empty, out of range, not finite or logits: refused with what was wanted and got."""
    with pytest.raises(ValueError, match=message):
        metric(scores, labels)


@pytest.mark.parametrize("metric", [*BINNED, bin_sums, bin_sums_of_logits, classwise_sums])
def test_no_bins_are_refused(metric):
    """At least one bin is needed."""
    with pytest.raises(ValueError, match="wanted at least one bin, got 0"):
        metric(torch.eye(2), torch.tensor([0, 1]), 0)


def test_large_finite_scores_are_not_taken_for_infinite():
    """Logits whose sum overflows float32 are finite all the same."""
    logits = torch.full((4, 2), 3e38)
    logits[:, 1] = 1e38
    assert bin_sums_of_logits(logits, torch.zeros(4, dtype=torch.int64)) == BinSums(
        (0,) * 14 + (4,), (0,) * 14 + (4,), (0,) * 14 + (4 * 2**62,)
    )
