import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from ddcal_core.metrics import (
    accuracy,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    null_level,
    reliability_bins,
    signed_calibration_gap,
)
from ddcal_core.seeding import seeded_generator

PROBABILITY_METRICS = [
    brier_score,
    expected_calibration_error,
    signed_calibration_gap,
    reliability_bins,
]


def slow_bins(probabilities, labels, n_bins):
    """Count, sum of confidence and right predictions of each bin (a, b], by a plain loop."""
    edges = np.linspace(0, 1, n_bins + 1)
    bins = [[0, 0.0, 0] for _ in range(n_bins)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence, predicted = -1.0, -1
        for k, p in enumerate(row):
            if p > confidence:
                confidence, predicted = p, k
        m = 0
        while m < n_bins - 1 and confidence > edges[m + 1]:
            m += 1
        bins[m][0] += 1
        bins[m][1] += confidence
        bins[m][2] += predicted == label
    return bins


def slow_ece(probabilities, labels, n_bins):
    """The ECE of those bins."""
    n = len(labels)
    return sum(
        count / n * abs(right / count - total / count)
        for count, total, right in slow_bins(probabilities, labels, n_bins)
        if count
    )


def some_logits(seed, n, n_classes, scale, *, dtype=torch.float64):
    """Random logits and labels that follow them now and then."""
    generator = seeded_generator(seed, "logits")
    logits = torch.randn((n, n_classes), generator=generator, dtype=torch.float64) * scale
    labels = torch.randint(n_classes, (n,), generator=generator)
    follow = torch.rand(n, generator=generator) < 0.5
    return logits.to(dtype), torch.where(follow, logits.argmax(1), labels)


def two_classes(confidences, rights):
    """Probabilities of two classes with the first as prediction."""
    first = torch.tensor(confidences, dtype=torch.float64)
    labels = torch.tensor([0 if right else 1 for right in rights])
    return torch.stack([first, 1 - first], 1), labels


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 200),
    st.integers(2, 12),
    st.sampled_from([0.01, 0.3, 1, 3, 30, 1000]),
    st.sampled_from([1, 2, 10, 15, 97]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_ece_and_bins_equal_a_plain_loop(seed, n, n_classes, scale, n_bins, dtype):
    """ECE, gap and every bin equal a loop over samples, at any size, scale and dtype."""
    logits, labels = some_logits(seed, n, n_classes, scale, dtype=dtype)
    probabilities = logits.softmax(1)
    slow = slow_bins(probabilities, labels, n_bins)
    bins = reliability_bins(probabilities, labels, n_bins)
    assert list(bins.count) == [count for count, _, _ in slow]
    for confidence, right_share, (count, total, right) in zip(
        bins.confidence, bins.accuracy, slow, strict=True
    ):
        assert (confidence is None) == (right_share is None) == (count == 0)
        if count:
            assert confidence == pytest.approx(total / count, rel=1e-12)
            assert right_share == pytest.approx(right / count, rel=1e-12)
    ece = expected_calibration_error(probabilities, labels, n_bins)
    assert ece == pytest.approx(slow_ece(probabilities, labels, n_bins), abs=1e-12)
    gap = sum(total - right for _, total, right in slow) / n
    assert signed_calibration_gap(probabilities, labels) == pytest.approx(gap, abs=1e-12)


@pytest.mark.parametrize(
    ("confidence", "n_bins", "index"),
    [
        (1.0, 15, 14),
        (1.0, 1, 0),
        (0.5, 15, 7),
        (0.5, 10, 4),
        (np.nextafter(0.5, 1), 10, 5),
        (0.8, 10, 7),
        (np.nextafter(0.8, 1), 10, 8),
        (0.75, 4, 2),
        (0.75, 2, 1),
        (np.nextafter(1.0, 0), 15, 14),
    ],
)
def test_a_confidence_on_an_edge_is_in_the_lower_bin(confidence, n_bins, index):
    """Bins are (a, b]: an edge belongs below, just above it above, 1 in the last bin."""
    bins = reliability_bins(*two_classes([confidence], [True]), n_bins)
    assert [m for m, count in enumerate(bins.count) if count] == [index]


def test_every_inner_edge_is_in_the_lower_bin():
    """With 25 classes each of numpy's edges above 1/25 can be a confidence; all go below."""
    for m, edge in enumerate(np.linspace(0, 1, 16)[1:-1]):
        rest = np.full(24, (1 - edge) / 24)
        probabilities = torch.tensor(np.concatenate([[edge], rest]))[None]
        bins = reliability_bins(probabilities, torch.tensor([0]))
        assert bins.count[m] == 1


def test_where_edges_matter_the_ece_is_that_of_closed_bins():
    """Two samples with one on an edge: apart in two bins, together in one (by hand)."""
    samples = two_classes([0.8, 0.9], [False, True])
    assert expected_calibration_error(*samples, 10) == pytest.approx((0.8 + 0.1) / 2)
    assert expected_calibration_error(*samples, 5) == pytest.approx((0.8 + 0.1) / 2)
    edge = np.linspace(0, 1, 6)[3]
    samples = two_classes([edge, 0.8], [False, True])
    assert expected_calibration_error(*samples, 5) == pytest.approx((0.6 + 0.2) / 2)
    samples = two_classes([np.nextafter(edge, 1), 0.8], [False, True])
    assert expected_calibration_error(*samples, 5) == pytest.approx(abs(1 - 0.6 - 0.8) / 2)


def test_edges_are_reported():
    """Fifteen bins have sixteen edges from 0 to 1."""
    bins = reliability_bins(*two_classes([0.7], [True]))
    assert bins.edges == tuple(np.linspace(0, 1, 16).tolist())


def test_saturated_predictions_count_in_the_last_bin():
    """Confidence exactly 1.0, as float32 gives for large logits, makes no bin of its own."""
    logits, labels = some_logits(0, 300, 10, 500.0, dtype=torch.float32)
    probabilities = logits.softmax(1)
    assert (probabilities.amax(1) == 1).any()
    bins = reliability_bins(probabilities, labels)
    assert len(bins.count) == 15
    assert sum(bins.count) == 300


def test_ties_go_to_the_first_class():
    """With equal probabilities the first class is the prediction, in every metric."""
    probabilities = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    assert accuracy(probabilities, torch.tensor([0, 1])) == 0.5
    assert expected_calibration_error(probabilities, torch.tensor([0, 0])) == 0.5
    assert signed_calibration_gap(probabilities, torch.tensor([1, 1])) == 0.5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.1, 1, 4])
def test_accuracy_nll_and_brier_are_scikit_learns(seed, scale):
    """On ordinary logits scikit-learn gives the same three numbers."""
    logits, labels = some_logits(seed, 150, 4, scale)
    probabilities = logits.softmax(1)
    assert accuracy(logits, labels) == accuracy_score(labels, logits.argmax(1))
    classes = [0, 1, 2, 3]
    assert brier_score(probabilities, labels) == pytest.approx(
        brier_score_loss(labels, probabilities.numpy(), labels=classes, scale_by_half=False)
    )
    assert negative_log_likelihood(logits, labels) == pytest.approx(
        log_loss(labels, probabilities.numpy(), labels=classes)
    )


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 3.0, 1e6])
def test_nll_is_taken_at_a_temperature(temperature):
    """The NLL is that of z / T, in closed form for two classes: log(1 + e^(-d / T))."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    wanted = (math.log1p(math.exp(-2 / temperature)) + np.logaddexp(0, 3 / temperature)) / 2
    got = negative_log_likelihood(logits, torch.tensor([0, 0]), temperature)
    assert got == pytest.approx(wanted, rel=1e-12)


def test_nll_does_not_saturate():
    """A wrong prediction by 10,000 nats costs 10,000, where probabilities would give infinity."""
    logits = torch.tensor([[1e4, 0.0]])
    assert negative_log_likelihood(logits, torch.tensor([1])) == 1e4


def test_brier_spans_0_to_2():
    """Certain and right is 0, certain and wrong is 2; uniform over K is 1 - 1 / K."""
    certain = torch.tensor([[1.0, 0.0, 0.0]])
    assert brier_score(certain, torch.tensor([0])) == 0
    assert brier_score(certain, torch.tensor([2])) == 2
    uniform = torch.full((2, 4), 0.25)
    assert brier_score(uniform, torch.tensor([0, 3])) == pytest.approx(0.75)


def test_over_confident_ece_is_the_signed_gap():
    """Where every bin is over-confident, ECE and gap are the same number; under-confident, -1x."""
    samples = two_classes([0.9, 0.91, 0.72, 0.7], [True, False, False, True])
    assert expected_calibration_error(*samples) == pytest.approx(signed_calibration_gap(*samples))
    samples = two_classes([0.6, 0.7, 0.8], [True, True, True])
    assert expected_calibration_error(*samples) == pytest.approx(-signed_calibration_gap(*samples))


@pytest.mark.parametrize("seed", range(3))
def test_order_of_samples_does_not_matter(seed):
    """A permutation of the samples changes no metric beyond rounding."""
    logits, labels = some_logits(seed, 500, 5, 2.0)
    order = torch.randperm(500, generator=seeded_generator(seed, "order"))
    for metric in (brier_score, expected_calibration_error, signed_calibration_gap):
        value = metric(logits.softmax(1), labels)
        assert metric(logits.softmax(1)[order], labels[order]) == pytest.approx(value, rel=1e-12)


def test_sums_are_float64():
    """A quarter million equal float32 confidences keep their mean to the last digits."""
    n, confidence = 250_000, float(torch.tensor(0.9))
    probabilities = torch.tensor([[0.9, 0.1]]).repeat(n, 1)
    labels = torch.zeros(n, dtype=torch.int64)
    gap = signed_calibration_gap(probabilities, labels)
    assert gap == pytest.approx(confidence - 1, rel=1e-12)


@pytest.mark.parametrize("n", [1, 10, 137])
@pytest.mark.parametrize("confidence", [0.55, 0.8, 0.99])
def test_null_level_of_one_confidence_is_binomial(n, confidence):
    """With one confidence for all the ECE is |X / n - c|, X binomial: mean and 95 % point."""
    draws, x = 4000, np.arange(n + 1)
    weight, error = binom.pmf(x, n, confidence), abs(x / n - confidence)
    mean = float((weight * error).sum())
    deviation = math.sqrt(float((weight * error**2).sum()) - mean**2)
    got = null_level(
        torch.full((n,), confidence, dtype=torch.float64),
        generator=seeded_generator(n, "null"),
        n_draws=draws,
    )
    assert abs(got.mean - mean) < 5 * deviation / math.sqrt(draws) + 1e-12
    order = np.argsort(error)
    cumulated = np.cumsum(weight[order])
    low, high = (error[order][np.searchsorted(cumulated, q)] for q in (0.935, 0.965))
    assert low - 1e-12 <= got.p95 <= high + 1e-12


def test_null_level_equals_a_plain_loop_on_the_same_draws():
    """Draw by draw the ECE of redrawn labels, computed by the loop of the ECE test."""
    confidences = torch.rand(60, generator=seeded_generator(0, "c"), dtype=torch.float64) / 2 + 0.5
    got = null_level(confidences, 10, generator=seeded_generator(0, "null"), n_draws=20)
    uniform = torch.rand((20, 60), generator=seeded_generator(0, "null"))
    errors = [
        slow_ece(*two_classes(confidences.tolist(), (row < confidences).tolist()), 10)
        for row in uniform
    ]
    assert got.mean == pytest.approx(np.mean(errors), rel=1e-12)
    assert got.p95 == pytest.approx(np.quantile(errors, 0.95), rel=1e-12)


def test_null_level_does_not_depend_on_how_draws_are_cut():
    """Sizes where draws are taken in several parts give the draws of one part."""
    n, n_draws = 1_500_000, 3
    confidences = torch.full((n,), 0.75, dtype=torch.float64)
    uniform = torch.rand((n_draws, n), generator=seeded_generator(0, "null"))
    errors = ((uniform < 0.75).double().mean(1) - 0.75).abs()
    got = null_level(confidences, generator=seeded_generator(0, "null"), n_draws=n_draws)
    assert got.mean == pytest.approx(float(errors.mean()), rel=1e-9)


def test_null_level_has_the_size_known_from_elsewhere():
    """Mean confidence .84: about the 5.7, 2.6 and 1.15 % reported for 200, 1,000 and 5,000."""
    logits, _ = some_logits(0, 5000, 10, 6.5)
    confidences = logits.softmax(1).amax(1)
    levels = [
        null_level(confidences[:n], generator=seeded_generator(0, "null")).mean
        for n in (200, 1000, 5000)
    ]
    assert levels == pytest.approx([0.057, 0.026, 0.0115], rel=0.12)


def test_null_level_of_certainty_is_zero():
    """Confidence 1 is always right."""
    level = null_level(torch.ones(50), generator=seeded_generator(0, "null"))
    assert (level.mean, level.p95) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("confidences", "n_bins", "n_draws", "message"),
    [
        (torch.zeros(0), 15, 10, r"got 10 draws of shape \(0,\)"),
        (torch.ones(2, 2), 15, 10, r"shape \(2, 2\)"),
        (torch.ones(2), 15, 0, "got 0 draws"),
        (torch.tensor([0.5, 1.5]), 15, 10, r"\[0, 1\]"),
        (torch.tensor([0.5, float("nan")]), 15, 10, r"\[0, 1\]"),
        (torch.ones(2), 0, 10, "at least one bin"),
    ],
)
def test_null_level_refuses_what_are_no_confidences(confidences, n_bins, n_draws, message):
    """Wrong shape, range, bins or draws are refused."""
    with pytest.raises(ValueError, match=message):
        null_level(confidences, n_bins, generator=seeded_generator(0), n_draws=n_draws)


@pytest.mark.parametrize("metric", [accuracy, negative_log_likelihood, *PROBABILITY_METRICS])
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), r"shape \(0, 2\)"),
        (torch.zeros(2, 0), torch.zeros(2, dtype=torch.int64), r"shape \(2, 0\)"),
        (torch.full((2,), 0.5), torch.zeros(2, dtype=torch.int64), r"shape \(2,\)"),
        (torch.eye(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), "torch.int64 of"),
        (torch.eye(2), torch.zeros(3, dtype=torch.int64), r"wanted labels int64 of shape \(2,\)"),
        (torch.eye(2), torch.zeros(2), "got torch.float32"),
        (torch.eye(2), torch.zeros(2, dtype=torch.int32), "got torch.int32"),
        (torch.eye(2), torch.tensor([0, 2]), "wanted labels 0 to 1, got 0 to 2"),
        (torch.eye(2), torch.tensor([-1, 0]), "got -1 to 0"),
        (torch.tensor([[0.5, float("nan")]]), torch.tensor([0]), "NaN or infinite"),
        (torch.tensor([[0.5, float("inf")]]), torch.tensor([0]), "NaN or infinite"),
    ],
)
def test_metrics_refuse_what_cannot_be(metric, scores, labels, message):
    """Empty, misshapen, not finite or out of range: refused with what was wanted and got."""
    with pytest.raises(ValueError, match=message):
        metric(scores, labels)


@pytest.mark.parametrize("metric", PROBABILITY_METRICS)
@pytest.mark.parametrize("row", [[2.0, -1.0], [0.2, 0.2], [0.9, 0.9], [3.0, 1.0]])
def test_probabilities_are_told_from_logits(metric, row):
    """Rows that are negative somewhere or do not sum to 1 are refused."""
    with pytest.raises(ValueError, match="wanted probabilities"):
        metric(torch.tensor([row]), torch.tensor([0]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_nll_refuses_temperatures_that_are_none(temperature):
    """T has to be above 0 and finite."""
    with pytest.raises(ValueError, match="temperature above 0"):
        negative_log_likelihood(torch.eye(2), torch.tensor([0, 1]), temperature)


@pytest.mark.parametrize("metric", [expected_calibration_error, reliability_bins])
def test_no_bins_are_refused(metric):
    """At least one bin is needed."""
    with pytest.raises(ValueError, match="wanted at least one bin, got 0"):
        metric(torch.eye(2), torch.tensor([0, 1]), 0)
