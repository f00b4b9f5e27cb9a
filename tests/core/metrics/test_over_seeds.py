"""Means and differences over seeds: against scipy's tests and a slow bootstrap."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ddcal_core.metrics.over_seeds import best_choice, estimate


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.995])
@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_paired_differences_are_those_of_the_paired_t_test(n, level):
    """Mean, interval and p of scipy.stats.ttest_rel on the two sides."""
    one, other = np.random.default_rng(n).normal([[0.3], [0.1]], 0.2, size=(2, n))
    found = estimate((one - other).tolist(), level=level)
    wanted = stats.ttest_rel(one, other)
    ends = wanted.confidence_interval(level)
    assert found.n == n
    assert found.mean == pytest.approx(one.mean() - other.mean())
    assert found.interval == pytest.approx((ends.low, ends.high))
    assert found.p == pytest.approx(wanted.pvalue)


def test_one_value_has_no_interval_and_equal_ones_none_of_width():
    """Nothing is made up of one; without spread there is no t."""
    assert estimate([0.25]) == estimate([0.25], level=0.5)
    assert (estimate([0.25]).interval, estimate([0.25]).p) == (None, None)
    found = estimate([0.5, 0.5, 0.5])
    assert (found.interval, found.p) == ((0.5, 0.5), None)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_number_is_refused(values):
    """It would become an interval of nothing."""
    with pytest.raises(ValueError, match="wanted finite values, one at least"):
        estimate(values)


@pytest.mark.parametrize("is_lowest", [True, False])
def test_the_best_is_that_of_every_possible_draw(is_lowest):
    """Three seeds have 27 draws: the bootstrap's shares come near their exact ones."""
    values = {0.0: [3.0, 1.0, 2.0], 0.3: [1.0, 2.0, 2.5], 0.5: [2.0, 2.0, 2.1]}
    best = min if is_lowest else max
    winners = []
    for draw in itertools.product(range(3), repeat=3):
        means = {x: sum(own[k] for k in draw) / 3 for x, own in values.items()}
        wanted = best(means.values())
        winners.append(min(x for x, mean in means.items() if abs(mean - wanted) < 1e-12))
    found = best_choice(values, is_lowest=is_lowest, n_resamples=200_000)
    whole = {x: sum(own) for x, own in values.items()}
    assert found.choice == best(whole, key=whole.__getitem__)
    assert found.share == pytest.approx(winners.count(found.choice) / 27, abs=0.005)
    in_order = sorted(winners)
    assert found.interval == (in_order[0], in_order[-1])
    assert found.n == 3


def test_a_clear_best_is_sure_and_one_seed_says_nothing():
    """The interval is the choice alone; with one seed there is none."""
    sure = best_choice({0.1: [1.0, 1.1, 0.9], 0.2: [5.0, 6.0, 7.0]}, is_lowest=True)
    assert (sure.choice, sure.interval, sure.share) == (0.1, (0.1, 0.1), 1.0)
    one = best_choice({0.1: [1.0], 0.2: [0.5]}, is_lowest=True)
    assert (one.choice, one.interval, one.share) == (0.2, None, None)
    with pytest.raises(ValueError, match="wanted choices of equally many values"):
        best_choice({0.1: [1.0], 0.2: [0.5, 1.0]}, is_lowest=True)
