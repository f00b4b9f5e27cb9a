import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp

from ddcal_core.calibration.masked import fit_temperature
from ddcal_core.seeding import seeded_generator


def some_logits(seed, n=300, n_classes=5, scale=1.0, follow=0.6):
    """Random logits float64 and labels that are their argmax in a share of rows."""
    generator = seeded_generator(seed, "logits")
    logits = torch.randn((n, n_classes), generator=generator, dtype=torch.float64)
    labels = torch.randint(n_classes, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < follow
    return logits * scale, torch.where(follows, logits.argmax(1), labels)


def slow_slope(log_b, z, y):
    """Derivative of the NLL by b = 1 / T at e^log_b, numpy float64: mean(E_p z - z_y)."""
    b = math.exp(log_b)
    z = z - z.max(1, keepdims=True)
    p = np.exp(b * z - logsumexp(b * z, axis=1, keepdims=True))
    return float(np.mean((p * z).sum(1) - z[np.arange(len(y)), y]))


def slow_temperature(logits, labels):
    """T by scipy's brentq on that derivative, bracketed by doubling."""
    z, y = logits.double().numpy(), labels.numpy()
    start = -math.log(np.abs(z - z.mean(1, keepdims=True)).mean())
    low = high = start
    while slow_slope(low, z, y) > 0:
        low -= 1
    while slow_slope(high, z, y) < 0:
        high += 1
    return math.exp(-brentq(slow_slope, low, high, args=(z, y), xtol=1e-14, rtol=1e-15))


def groups(gaps, n_right, n_wrong, n_classes=2):
    """Rows (gap, 0, ..., 0): for each gap so many with label 0, and so many with label 1."""
    rows, labels = [], []
    for gap, right, wrong in zip(gaps, n_right, n_wrong, strict=True):
        rows += [[gap] + [0.0] * (n_classes - 1)] * (right + wrong)
        labels += [0] * right + [1] * wrong
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(labels)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 60),
    st.integers(2, 12),
    st.floats(-9, 9),
    st.floats(0.3, 0.95),
)
@example(1450, 2, 2, 3.0, 0.5)  # one logit of two rows is no mask, however low it is
def test_temperature_is_the_root_that_brentq_finds(seed, n, n_classes, log10_scale, follow):
    """Where there is a root it is the one of scipy's bracketing solver, at any scale."""
    logits, labels = some_logits(seed, n, n_classes, 10**log10_scale, follow)
    fit = fit_temperature(logits, labels)
    if fit.status == "ok":
        assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)
        assert fit.iterations < 40
    else:
        z, y = logits.numpy(), labels.numpy()
        at_infinity = slow_slope(-math.log(np.abs(z).max()) - 30, z, y)
        assert fit.status == "separable" or at_infinity >= 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
def test_any_floating_dtype_gives_its_own_exact_root(scale, dtype):
    """The root is that of the logits as given, rounded or not."""
    logits, labels = some_logits(1, 400, 10, scale)
    logits = logits.to(dtype)
    fit = fit_temperature(logits, labels)
    assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)


@pytest.mark.parametrize("offset", [-1e6, 1e6])
def test_an_offset_of_every_logit_does_not_matter(offset):
    """Softmax ignores what all classes share, even where it is far larger than the gaps."""
    logits, labels = some_logits(2)
    logits = (logits * 2**20).round() / 2**20  # so that adding the offset rounds nothing
    shifted = fit_temperature(logits + offset, labels)
    assert shifted.temperature == pytest.approx(
        fit_temperature(logits, labels).temperature, rel=1e-9
    )


@pytest.mark.parametrize("gap", [1e-6, 0.5, 40.0, 1e8])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize(("n_right", "n_wrong"), [(3, 1), (99, 1), (1, 0.02), (60, 40)])
def test_equal_gaps_have_a_closed_form(gap, n_classes, n_right, n_wrong):
    """Rows (g, 0, ..., 0) with a share f right: T = g / log(f (K - 1) / (1 - f))."""
    n_right, n_wrong = round(50 * n_right), round(50 * n_wrong)
    share = n_right / (n_right + n_wrong)
    fit = fit_temperature(*groups([gap], [n_right], [n_wrong], n_classes))
    wanted = gap / math.log(share * (n_classes - 1) / (1 - share))
    assert fit.status == "ok"
    assert fit.temperature == pytest.approx(wanted, rel=1e-12)


def test_large_concentrated_logits_are_solved():
    """Sixty in a hundred right, all but certain: T is above 10, far from where LBFGS stops."""
    fit = fit_temperature(*groups([28.0], [600], [400], 10))
    assert fit.temperature == pytest.approx(28 / math.log(0.6 * 9 / 0.4), rel=1e-12)
    assert fit.temperature > 10


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1e-2, 3.0, 1e2, 1e4, 1e30])
@pytest.mark.parametrize("seed", range(3))
def test_temperature_scales_with_the_logits(seed, scale):
    """T(c z) = c T(z), with as many passes give or take one, and the same standard error."""
    logits, labels = some_logits(seed)
    plain, scaled = fit_temperature(logits, labels), fit_temperature(logits * scale, labels)
    assert scaled.temperature == pytest.approx(plain.temperature * scale, rel=1e-10)
    assert scaled.nll_after == pytest.approx(plain.nll_after, rel=1e-10)
    assert scaled.standard_error == pytest.approx(plain.standard_error, rel=1e-9)
    assert abs(scaled.iterations - plain.iterations) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_and_classes_does_not_matter(seed):
    """Permuted rows, and permuted classes with their labels, give the same temperature."""
    logits, labels = some_logits(seed)
    wanted = fit_temperature(logits, labels).temperature
    rows = torch.randperm(len(labels), generator=seeded_generator(seed, "rows"))
    classes = torch.randperm(logits.shape[1], generator=seeded_generator(seed, "classes"))
    assert fit_temperature(logits[rows], labels[rows]).temperature == pytest.approx(
        wanted, rel=1e-11
    )
    permuted = fit_temperature(logits[:, classes], classes.argsort()[labels])
    assert permuted.temperature == pytest.approx(wanted, rel=1e-11)


def test_duplicated_rows_change_the_error_alone():
    """Three copies of every row: the same T, a standard error smaller by the root of 3."""
    logits, labels = some_logits(4)
    once, thrice = (
        fit_temperature(logits, labels),
        fit_temperature(logits.repeat(3, 1), labels.repeat(3)),
    )
    assert thrice.temperature == pytest.approx(once.temperature, rel=1e-11)
    assert thrice.standard_error == pytest.approx(once.standard_error / 3**0.5, rel=1e-9)
    assert (once.n, thrice.n) == (300, 900)


def test_a_long_fit_equals_a_short_one():
    """More rows than fit one chunk, 200 copies of 1,000: the same temperature and NLL."""
    logits, labels = some_logits(5, 1000, 10)
    short = fit_temperature(logits, labels)
    long = fit_temperature(logits.repeat(200, 1), labels.repeat(200))
    assert long.temperature == pytest.approx(short.temperature, rel=1e-10)
    assert long.nll_after == pytest.approx(short.nll_after, rel=1e-10)
    assert long.nll_before == pytest.approx(short.nll_before, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.05, 1.0, 50.0])
def test_nll_is_told_before_and_after_and_is_least(seed, scale):
    """Both NLLs are those of scipy's logsumexp, and no other T has a smaller one."""
    logits, labels = some_logits(seed, scale=scale)
    fit = fit_temperature(logits, labels)
    z, y = logits.numpy(), labels.numpy()

    def nll(log_t):
        s = z / math.exp(log_t)
        return float(np.mean(logsumexp(s, axis=1) - s[np.arange(len(y)), y]))

    assert fit.nll_before == pytest.approx(nll(0.0), rel=1e-12)
    assert fit.nll_after == pytest.approx(nll(math.log(fit.temperature)), rel=1e-12)
    at = math.log(fit.temperature)
    best = minimize_scalar(nll, bounds=(at - 3, at + 3), method="bounded")
    assert fit.nll_after <= best.fun + 1e-13
    assert fit.nll_after <= fit.nll_before


@pytest.mark.parametrize("gap_of_the_mistake", [1e-3, 1e-9, 1e-13])
def test_nearly_separable_rows_still_have_their_root(gap_of_the_mistake):
    """One mistake by a hair among confident rows: T tends to 0 with the hair, in few passes."""
    logits, labels = groups([1.0, gap_of_the_mistake], [50, 0], [0, 1])
    fit = fit_temperature(logits, labels)
    assert fit.iterations <= 12
    assert fit.status == "ok"
    assert 0 < fit.temperature < 1
    assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)


@pytest.mark.parametrize("excess", [1, 10, 1000])
def test_nearly_chance_rows_still_have_their_root(excess):
    """A few more right than wrong in a hundred thousand: T is large, by the closed form."""
    n = 100_000
    fit = fit_temperature(*groups([2.0], [n // 2 + excess], [n // 2 - excess]))
    share = 0.5 + excess / n
    assert fit.temperature == pytest.approx(2 / math.log(share / (1 - share)), rel=1e-9)


@pytest.mark.parametrize("excess", [1e-9, 1e-11, 1e-12])
def test_rounding_near_chance_does_not_keep_it_from_ending(excess):
    """Gaps g right and g (1 - e) wrong: T = g / e, as far as float64 can tell it."""
    fit = fit_temperature(*groups([3.7, 3.7 * (1 - excess)], [1, 0], [0, 1]))
    assert fit.status == "ok"
    assert fit.temperature == pytest.approx(3.7 / excess, rel=1e-14 / excess)
    assert fit.iterations < 100


def test_rows_of_very_different_scales_are_solved():
    """Gaps from 1e-6 to 1e6 in one fit: bracketing finds what plain Newton would overshoot."""
    logits, labels = groups(
        [1e-6, 1e-3, 1.0, 1e3, 1e6], [70, 70, 70, 70, 99], [30, 30, 30, 30, 1], 3
    )
    fit = fit_temperature(logits, labels)
    assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)
    assert fit.iterations < 40


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_all_right_is_separable(n, scale):
    """Every label the largest logit: no temperature, and the NLL's limit is 0."""
    logits, _ = some_logits(0, n, scale=scale)
    fit = fit_temperature(logits, logits.argmax(1))
    assert (fit.status, fit.temperature, fit.standard_error) == ("separable", None, None)
    assert (fit.n, fit.iterations, fit.nll_after) == (n, 0, 0.0)


def test_ties_of_the_largest_are_separable_with_their_limit():
    """A label among three equal largest logits stays at log 3 however small T gets."""
    logits = torch.tensor([[1.0, 1.0, 1.0, -4.0], [5.0, 1.0, 1.0, 1.0]])
    fit = fit_temperature(logits, torch.tensor([2, 0]))
    assert fit.status == "separable"
    assert fit.nll_after == pytest.approx(math.log(3) / 2, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_all_wrong_is_worse_than_chance(n, scale):
    """Every label the smallest logit: no temperature, and the NLL's limit is log K."""
    logits, _ = some_logits(0, n, scale=scale)
    fit = fit_temperature(logits, logits.argmin(1))
    assert (fit.status, fit.temperature) == ("worse_than_chance", None)
    assert fit.nll_after == pytest.approx(math.log(5), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_labels_exactly_at_chance_are_worse_than_chance(seed):
    """Every row once with every label, so that chance is met up to rounding: not T = 1e16."""
    logits, _ = some_logits(seed, 40)
    fit = fit_temperature(logits.repeat_interleave(5, 0), torch.arange(200) % 5)
    assert fit.status == "worse_than_chance"


@pytest.mark.parametrize("value", [0.0, -3.5, 1e30])
@pytest.mark.parametrize("shape", [(1, 2), (7, 3), (4, 1)])
def test_constant_rows_are_unidentified(shape, value):
    """Equal logits in every row, each row its own: every T gives log K."""
    logits = torch.full(shape, value) * torch.arange(1, shape[0] + 1)[:, None]
    fit = fit_temperature(logits, torch.zeros(shape[0], dtype=torch.int64))
    assert (fit.status, fit.temperature, fit.iterations) == ("unidentified", None, 0)
    assert fit.nll_before == fit.nll_after == pytest.approx(math.log(shape[1]))


def test_one_row_between_the_extremes_has_a_temperature_without_an_error():
    """N = 1 with a label above the mean but not largest: T solves, no standard error is told."""
    logits, labels = torch.tensor([[3.0, 2.0, -7.0]]), torch.tensor([1])
    fit = fit_temperature(logits, labels)
    assert fit.status == "ok"
    assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)
    assert fit.standard_error is None


@pytest.mark.parametrize(("n_right", "n_wrong"), [(70, 30), (990, 10), (55, 45)])
def test_standard_error_of_equal_gaps_has_a_closed_form(n_right, n_wrong):
    """Delta method on T = g / logit f: se(log T) = 1 / (logit f sqrt(N f (1 - f)))."""
    n, f = n_right + n_wrong, n_right / (n_right + n_wrong)
    fit = fit_temperature(*groups([3.0], [n_right], [n_wrong]))
    wanted = 1 / (math.log(f / (1 - f)) * math.sqrt(n * f * (1 - f)))
    assert fit.standard_error == pytest.approx(wanted, rel=2e-5)


def test_standard_error_is_the_spread_over_samples():
    """Over 300 fresh samples log T varies by what one sample's standard error says."""
    fits = [fit_temperature(*some_logits(seed, 400, 4, 3.0, 0.7)) for seed in range(300)]
    spread = np.std([math.log(fit.temperature) for fit in fits])
    assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(spread, rel=0.15)


def test_draws_of_one_sample_are_one_observation():
    """With three noisy draws a sample the error is the cluster-robust one, written out in numpy."""
    logits, labels = some_logits(6)
    noise = torch.randn((900, 5), generator=seeded_generator(0, "noise"), dtype=torch.float64)
    drawn, all_labels = logits.repeat(3, 1) + noise / 3, labels.repeat(3)
    fit = fit_temperature(drawn, all_labels, n_draws=3)
    z, y, b = drawn.numpy(), all_labels.numpy(), 1 / fit.temperature
    p = np.exp(b * z - logsumexp(b * z, axis=1, keepdims=True))
    mean = (p * z).sum(1)
    per_sample = (mean - z[np.arange(900), y]).reshape(3, 300).mean(0)
    curvature = np.mean((p * (z - mean[:, None]) ** 2).sum(1))
    wanted = per_sample.std() / math.sqrt(300) / (b * curvature)
    assert fit.standard_error == pytest.approx(wanted, rel=2e-5)
    assert fit.standard_error > 1.3 * fit_temperature(drawn, all_labels).standard_error


def test_rows_that_are_no_whole_draws_are_refused():
    """Three hundred rows are not seven draws of anything."""
    with pytest.raises(ValueError, match="divisible by n_draws = 7, got 300"):
        fit_temperature(*some_logits(6), n_draws=7)


LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.tensor([[1.0, math.nan], [2.0, 0.0]]), LABELS, "got NaN or infinite"),
        (torch.tensor([[1.0, -math.inf], [2.0, 0.0]]), LABELS, "got NaN or infinite"),
        (torch.zeros(0, 3), LABELS[:0], r"N, K >= 1, got .* shape \(0, 3\)"),
        (torch.zeros(2, 0), LABELS, r"shape \(2, 0\)"),
        (torch.zeros(2), LABELS, r"shape \(2,\)"),
        (torch.zeros(2, 3, dtype=torch.int64), LABELS, "got torch.int64"),
        (torch.zeros(2, 3), LABELS.float(), "labels int64 .* got torch.float32"),
        (torch.zeros(2, 3), LABELS.int(), "got torch.int32"),
        (torch.zeros(2, 3), LABELS.bool(), "got torch.bool"),
        (torch.zeros(2, 3), torch.eye(2).long(), r"wanted labels int64 of shape \(2,\)"),
        (torch.zeros(2, 3), torch.tensor([0]), r"got torch.int64 of shape \(1,\)"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "wanted labels 0 to 2, got 0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "got -1 to 0"),
        (torch.tensor([[0.2, 0.8], [0.5, 0.5]]), LABELS, "looks like probabilities"),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), LABELS, "looks like probabilities"),
    ],
)
def test_refuses_what_are_no_logits_and_labels(logits, labels, message):
    """Each is refused before solving, with what was wanted and what was got."""
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_softmax_outputs_are_refused_in_any_precision(dtype):
    """A network's probabilities are told from logits, rounded to 16 bits as well."""
    logits, labels = some_logits(7)
    with pytest.raises(ValueError, match="looks like probabilities"):
        fit_temperature(logits.softmax(1).to(dtype), labels)


def test_log_probabilities_are_logits():
    """Log-softmax differs from the logits by a constant a row: the same temperature."""
    logits, labels = some_logits(7)
    assert fit_temperature(logits.log_softmax(1), labels).temperature == pytest.approx(
        fit_temperature(logits, labels).temperature, rel=1e-9
    )


def test_input_is_left_as_it_was():
    """Fitting changes neither logits nor labels."""
    logits, labels = some_logits(8)
    kept = logits.clone(), labels.clone()
    fit_temperature(logits, labels)
    assert torch.equal(logits, kept[0])
    assert torch.equal(labels, kept[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-2, 0), (1, 0), (30, 0), (1e3, 0), (5, 300), (1e-2, 30)]
)
def test_many_rows_of_float32_are_exact_as_well(scale, offset, dtype):
    """Large enough to be started in float32: still the float64 root of the logits as given."""
    logits, labels = some_logits(9, 15_000, 10, scale)
    logits = (logits + offset).to(dtype)
    fit = fit_temperature(logits, labels)
    assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)
    z, y = logits.double().numpy(), labels.numpy()
    nll = float(np.mean(logsumexp(z, axis=1) - z[np.arange(len(y)), y]))
    assert fit.nll_before == pytest.approx(nll, rel=2e-6)
    z = z / fit.temperature
    nll = float(np.mean(logsumexp(z, axis=1) - z[np.arange(len(y)), y]))
    assert fit.nll_after == pytest.approx(nll, rel=1e-10)


def test_many_rows_that_are_sorted_are_exact_as_well():
    """Confident rows first, wrong ones last: where the start looks does not change the root."""
    right, wrong = some_logits(10, 30_000, 5, 20.0, 1.0), some_logits(11, 300, 5, 3.0, 0.0)
    logits = torch.cat([right[0], wrong[0]]).float()
    labels = torch.cat([right[1], wrong[1]])
    fit = fit_temperature(logits, labels)
    assert fit.temperature == pytest.approx(slow_temperature(logits, labels), rel=1e-9)


@pytest.mark.parametrize(
    ("gaps", "n_right", "n_wrong", "temperature"),
    [
        ([2.0], [50_010], [49_990], 2 / math.log(50_010 / 49_990)),
        ([2.0], [50_000], [50_000], None),
        ([2.0], [49_000], [51_000], None),
        ([2.0], [100_000], [0], None),
        ([0.0], [50_000], [50_000], None),
        ([40.0], [99_999], [1], 40 / math.log(99_999)),
    ],
)
def test_many_rows_at_the_limits(gaps, n_right, n_wrong, temperature):
    """Near chance, at it, below it, all right, constant, one mistake: as for few rows."""
    logits, labels = groups(gaps, n_right, n_wrong)
    fits = [fit_temperature(logits.to(dtype), labels) for dtype in (torch.float32, torch.float64)]
    assert fits[0].status == fits[1].status
    assert (fits[0].status == "ok") == (temperature is not None)
    if temperature:
        assert fits[0].temperature == pytest.approx(temperature, rel=1e-9)


@pytest.mark.parametrize("magnitude", [1e-30, 1e-10, 1e10, 1e30])
def test_many_extreme_float32_rows_are_exact(magnitude):
    """Where float32 squares would leave their range only float64 is used."""
    logits, labels = some_logits(12, 15_000, 10)
    logits = (logits * magnitude).float()
    wanted = slow_temperature(logits.double() / magnitude, labels) * magnitude
    assert fit_temperature(logits, labels).temperature == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_many_float32_rows_exactly_at_chance_are_worse_than_chance(seed):
    """Every row once with every label: float32's rounding is not taken for a temperature."""
    logits, _ = some_logits(seed, 8000)
    fit = fit_temperature(logits.float().repeat_interleave(5, 0), torch.arange(40_000) % 5)
    assert fit.status == "worse_than_chance"
