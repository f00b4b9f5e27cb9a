"""What a few seeds say of a mean, of a paired difference, and of which choice is best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

N_RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        n: of the values.
        mean: in their unit.
        interval: of the mean at the level asked for, by Student's t; None for fewer than two.
        p: two-sided, of a true mean of 0; None for fewer than two values, or where all are equal.
    """

    n: int
    mean: float
    interval: tuple[float, float] | None
    p: float | None


def estimate(values: Sequence[float], *, level: float = 0.95) -> Estimate:
    """Give the mean of values from different seeds, with its interval.

    Of paired differences it is the paired t interval, and `p` that of the paired t test. Values
    that are all equal have an interval of no width.

    Args:
        values: finite, at least one; one a seed.
        level: of the interval, in (0, 1).

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    n = len(values)
    if not n or not all(map(math.isfinite, values)):
        raise ValueError(f"wanted finite values, one at least; got {list(values)}")
    mean = fmean(values)
    if n < 2:
        return Estimate(n=n, mean=mean, interval=None, p=None)
    error = stdev(values) / math.sqrt(n)
    half = _t_quantile((1 + level) / 2, n - 1) * error
    p = None if error == 0 else 2 * _t_share_above(abs(mean) / error, n - 1)
    return Estimate(n=n, mean=mean, interval=(mean - half, mean + half), p=p)


def _t_quantile(share: float, degrees: int) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415  .2 s and 17 MB that other kinds do not need

    return float(stdtrit(degrees, share))


def _t_share_above(t: float, degrees: int) -> float:
    from scipy.special import stdtr  # noqa: PLC0415  likewise

    return float(stdtr(degrees, -t))


@dataclass(frozen=True, kw_only=True)
class Best:
    """The choice of lowest or highest mean.

    Attributes:
        choice: it.
        interval: 95 % of the choices that win when seeds are drawn anew; None for fewer than two.
        share: of these draws that this choice wins; None likewise.
        n: seeds that all choices have.
    """

    choice: float
    interval: tuple[float, float] | None
    share: float | None
    n: int


def best_choice(
    values: Mapping[float, Sequence[float]],
    *,
    is_lowest: bool,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> Best:
    """Find the best choice, and how sure that is: a percentile bootstrap over seeds.

    Each draw takes as many seeds as there are, with replacement and the same for all choices, and
    finds the choice of best mean; the interval is from the 2.5 % to the 97.5 % point of these. Of
    choices that are equally good the smallest wins.

    Args:
        values: a number, such as a mask ratio -> its values, seed by seed in one order.
        is_lowest: whether the lowest mean is best; else the highest.
        seed: of the draws.
        n_resamples: draws.

    Raises:
        ValueError: there is no choice, or they have not all the same number of seeds.
    """
    choices = np.array(sorted(values))
    counts = {len(own) for own in values.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"wanted choices of equally many values; got {sorted(counts)}")
    table = np.array([values[choice] for choice in choices.tolist()], dtype=np.float64)
    signed = table if is_lowest else -table
    n = table.shape[1]
    best = int(signed.mean(1).argmin())
    if n < 2:
        return Best(choice=float(choices[best]), interval=None, share=None, n=n)
    drawn = np.random.default_rng(seed).integers(n, size=(n_resamples, n))
    winners = signed[:, drawn].mean(2).argmin(0)
    low, high = np.quantile(choices[winners], [0.025, 0.975], method="inverted_cdf")
    share = float((winners == best).mean())
    return Best(choice=float(choices[best]), interval=(float(low), float(high)), share=share, n=n)
