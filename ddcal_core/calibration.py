"""Temperature scaling, solved exactly, on plain and on masked images.

A temperature T turns logits z into probabilities softmax(z / T). The best one minimises the mean
negative log-likelihood (NLL), a convex problem in b = 1 / T. With rows shifted to maximum 0,
A(b) = -mean_i E_softmax(b z_i)[z_i] falls from A(0) to 0, and the minimum solves A(b) = B with
B = -mean_i z_i,y_i. Whether there is a minimum can be read off A(0) and B before solving:

    A(0) = 0       unidentified       constant rows: every T gives the same probabilities
    B = 0          separable          every label has the largest logit: T -> 0
    B >= A(0)      worse_than_chance  labels no better than the row's mean: T -> infinity
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ddcal_core.masking import mask_images
from ddcal_core.metrics import (
    N_BINS,
    accuracy,
    brier_score,
    check_scores,
    expected_calibration_error,
    signed_calibration_gap,
)
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs import MaskSpec
from ddcal_core.training import predict_logits

Status = Literal["ok", "separable", "worse_than_chance", "unidentified"]

MIN_MASKED_ROWS = 1000
_LAST_STEP = 1e-8  # the error left after a Newton step goes with its square
_LAST_BRACKET = 1e-12
_FIRST_STEP_LIMIT = 4.0
_MAX_LOG = 700.0  # exp overflows just above
_NUMBERS_AT_ONCE = 2**18  # float64 of a chunk, to stay in a core's cache
# Sums in float64 cannot tell labels from chance any closer than this, relative to A(0).
_CHANCE_TOLERANCE = 32 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class TemperatureFit:
    """A fitted temperature, or why there is none.

    Attributes:
        temperature: T > 0 when status is "ok", else None.
        status: "ok", or which limit the NLL falls towards (see the module).
        n: rows of logits fitted on.
        iterations: passes over the logits that the solver took.
        nll_before: mean NLL at T = 1, in nats.
        nll_after: mean NLL at T, or its limit.
        standard_error: of log T, so relative to T, for samples drawn independently, also where
            the model is wrong (sandwich formula); None when status is not "ok", or for one sample.
    """

    temperature: float | None
    status: Status
    n: int
    iterations: int
    nll_before: float
    nll_after: float
    standard_error: float | None


@dataclass(frozen=True)
class MaskedFit:
    """A temperature fitted on masked images.

    Attributes:
        fit: on n_draws rows of logits an image.
        n_draws: masks drawn for each image.
        masked_accuracy: of the network on the masked images, in [0, 1].
    """

    fit: TemperatureFit
    n_draws: int
    masked_accuracy: float


@dataclass(frozen=True)
class LimitMetrics:
    """What the metrics tend to where there is no best temperature.

    Attributes:
        accuracy: does not depend on T.
        nll: in nats; math.inf where a wrong prediction becomes certain.
        brier: in [0, 2].
        ece: in [0, 1].
        signed_gap: confidence - accuracy.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float
    signed_gap: float


@dataclass(frozen=True, eq=False)
class _Samples:
    """Logits as the solver wants them.

    Attributes:
        columns: float64 (K, N), class by class, so that passes run along memory; each sample
            shifted to maximum 0 and divided by `scale`.
        at_label: float64 (N,), the label's entry of each sample.
        scale: a power of 2, so that dividing by it is exact.
    """

    columns: Tensor
    at_label: Tensor
    scale: float


def fit_temperature(logits: Tensor, labels: Tensor, *, n_draws: int = 1) -> TemperatureFit:
    """The temperature of least NLL, exact to 1e-9 relative at any scale of the logits.

    Safeguarded Newton in log b on log A(b) = log B; float64 throughout. (The gradient steps
    common in this field stop far from the optimum when the logits are large.)

    Args:
        logits: (N, K), N >= 1, floating point, finite, not probabilities.
        labels: int64 (N,), 0 to K - 1.
        n_draws: how many rows each sample has: row d * (N / n_draws) + i is the d-th of sample i.
            Only the standard error depends on it.

    Returns:
        The temperature, or the status that says why there is none.

    Raises:
        ValueError: empty, misshapen, NaN or infinite, a label out of range or not int64, every row
            looks like probabilities, or N no multiple of n_draws.

    Source:
        Guo et al., ICML 2017; the solver and the degenerate cases are our own.
    """
    check_scores(logits, labels)
    _refuse_probabilities(logits)
    n = len(labels)
    if n_draws < 1 or n % n_draws:
        raise ValueError(f"a number of rows divisible by n_draws = {n_draws} is wanted, got {n}")
    samples = _prepare(logits, labels)
    nll_before = _mean_nll(samples, samples.scale)
    status, nll_limit = _tell_degenerate(samples)
    if status != "ok":
        return TemperatureFit(None, status, n, 0, nll_before, nll_limit, None)
    inverse, iterations = _solve(samples)
    return TemperatureFit(
        temperature=samples.scale / inverse,
        status="ok",
        n=n,
        iterations=iterations,
        nll_before=nll_before,
        nll_after=_mean_nll(samples, inverse),
        standard_error=_standard_error(samples, inverse, n_draws),
    )


def fit_masked_temperature(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mask: MaskSpec,
    *,
    seed: int,
    n_draws: int | None = None,
    batch_size: int = 512,
) -> MaskedFit:
    """The temperature of least NLL on randomly masked images (MTS).

    Few images are masked anew until there are 1,000 rows; masks depend on seed and draw alone,
    not on the batches. Nothing is masked when the temperature is used. With ratio 0 it is
    `fit_temperature` on the images as they are.

    Args:
        network: maps images to logits (N, K).
        images: float32 (N, C, H, W), network-input space, N >= 1, on the network's device.
        labels: int64 (N,).
        mask: share of pixels to mask, and how.
        seed: of the masks.
        n_draws: masks drawn for each image; None for as many as make 1,000 rows, at least one.
        batch_size: images the network sees at once.

    Returns:
        The fit, how many masks each image got, and the accuracy under them.

    Raises:
        ValueError: no images, or what `fit_temperature` refuses.

    Source:
        arXiv 2307.12463; number of draws and optimiser are not given there.
    """
    n = len(images)
    if n == 0:
        raise ValueError("at least one image is wanted, got none")
    n_draws = (n_draws or math.ceil(MIN_MASKED_ROWS / n)) if mask.ratio > 0 else 1
    draws_at_once = max(1, batch_size // n)
    logits: list[Tensor] = []
    for start in range(0, n_draws, draws_at_once):
        draws = range(start, min(start + draws_at_once, n_draws))
        masked = [mask_images(mask, images, seeded_generator(seed, "mts", draw)) for draw in draws]
        logits.append(predict_logits(network, torch.cat(masked), batch_size=batch_size))
    all_logits, all_labels = torch.cat(logits), labels.repeat(n_draws)
    fit = fit_temperature(all_logits, all_labels, n_draws=n_draws)
    return MaskedFit(fit, n_draws, accuracy(all_logits, all_labels))


def zero_temperature_limit(logits: Tensor, labels: Tensor, n_bins: int = N_BINS) -> LimitMetrics:
    """What the metrics tend to for T -> 0, the answer to a separable fit.

    All probability goes to the largest logit, in equal parts where several are largest. Without
    such ties ECE and signed gap are 1 - accuracy, Brier is twice that, and NLL is infinite unless
    all is right.

    Args:
        logits: (N, K), N >= 1, finite.
        labels: int64 (N,), 0 to K - 1.
        n_bins: of the ECE; matters only with ties.

    Returns:
        The limits.

    Raises:
        ValueError: what `metrics.accuracy` refuses.
    """
    share = accuracy(logits, labels)
    is_largest = (logits == logits.amax(1, keepdim=True)).double()
    probabilities = is_largest / is_largest.sum(1, keepdim=True)
    at_label = probabilities.gather(1, labels.unsqueeze(1))
    return LimitMetrics(
        accuracy=share,
        nll=float(-at_label.log().mean()),
        brier=brier_score(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels, n_bins),
        signed_gap=signed_calibration_gap(probabilities, labels),
    )


def infinite_temperature_limit(logits: Tensor, labels: Tensor) -> LimitMetrics:
    """What the metrics tend to for T -> infinity, the answer to a fit worse than chance.

    Every class gets 1 / K, and the prediction stays the first largest logit: confidence tends to
    1 / K, the same for all, so that ECE is |accuracy - 1 / K|.

    Args:
        logits: (N, K), N >= 1, finite.
        labels: int64 (N,), 0 to K - 1.

    Returns:
        The limits.

    Raises:
        ValueError: what `metrics.accuracy` refuses.
    """
    share = accuracy(logits, labels)
    n_classes = logits.shape[1]
    gap = 1 / n_classes - share
    return LimitMetrics(
        accuracy=share,
        nll=math.log(n_classes),
        brier=1 - 1 / n_classes,
        ece=abs(gap),
        signed_gap=gap,
    )


def _refuse_probabilities(logits: Tensor) -> None:
    total = logits.double().sum(1)
    if bool((logits >= 0).all()) and float((total - 1).abs().max()) < 1e-3:
        raise ValueError(
            "logits are wanted, got what looks like probabilities: every row is in [0, 1] and "
            "sums to 1; pass the network's output before the softmax, or log probabilities"
        )


def _prepare(logits: Tensor, labels: Tensor) -> _Samples:
    wide = logits.double()
    exponent = math.frexp(float(wide.abs().max()))[1] - 1
    scale = math.ldexp(1.0, max(exponent, -1000))
    wide = wide / scale
    wide = wide - wide.amax(1, keepdim=True)
    at_label = wide.gather(1, labels.unsqueeze(1)).squeeze(1)
    return _Samples(wide.t().contiguous(), at_label, scale)


def _tell_degenerate(samples: _Samples) -> tuple[Status, float]:
    """The status, and the limit of the NLL when it is not "ok"."""
    columns = samples.columns
    uniform = math.log(len(columns))
    spread = -float(columns.mean())
    if spread == 0:
        return "unidentified", uniform
    if not bool(samples.at_label.any()):
        n_largest = (columns == 0).sum(0)
        return "separable", float(n_largest.double().log().mean())
    if float((samples.at_label - columns.mean(0)).mean()) <= _CHANCE_TOLERANCE * spread:
        return "worse_than_chance", uniform
    return "ok", math.nan


def _solve(samples: _Samples) -> tuple[float, int]:
    """The b = 1 / T where A(b) = B, in units of 1 / scale, and the passes it took."""
    target = -float(samples.at_label.mean())
    low, high = -math.inf, math.inf
    log_b = -math.log(-float(samples.columns.mean()))
    limit, last_step = _FIRST_STEP_LIMIT, math.inf
    for iteration in itertools.count(1):
        excess, fall = _excess_and_fall(samples, math.exp(log_b))
        low, high = (log_b, high) if excess > 0 else (low, log_b)
        step = _newton_step(excess, fall, target)
        if abs(step) <= _LAST_STEP:
            return math.exp(log_b + step), iteration
        if high - low <= _LAST_BRACKET:  # near chance rounding hides the slope
            return math.exp(log_b), iteration
        step = max(-limit, min(limit, step))
        if math.isinf(low) or math.isinf(high):
            limit *= 2
        elif not low < log_b + step < high or abs(step) > abs(last_step) / 2:
            step = (low + high) / 2 - log_b
        log_b, last_step = log_b + step, step
        if abs(log_b) > _MAX_LOG:
            raise ValueError("the logits' gaps differ by more than float64 can hold")
    raise AssertionError  # for type checkers: count() does not end


def _newton_step(excess: float, fall: float, target: float) -> float:
    """Newton's step in log b on log A - log B, given A - B and -dA / dlog b."""
    level = target + excess
    if level <= 0 or fall <= 0:
        return -math.inf  # so far right that A has rounded to 0
    return math.log1p(excess / target) * level / fall


def _excess_and_fall(samples: _Samples, b: float) -> tuple[float, float]:
    """A(b) - B and -dA / dlog b = b mean Var_softmax(b z)[z]."""
    device = samples.columns.device
    excess = torch.zeros((), dtype=torch.float64, device=device)
    fall = torch.zeros((), dtype=torch.float64, device=device)
    for mean, variance, at_label in _row_moments(samples, b):
        excess += (at_label - mean).sum()
        fall += variance.sum()
    n = len(samples.at_label)
    return float(excess) / n, b * float(fall) / n


def _row_moments(samples: _Samples, b: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Mean and variance of each sample's entries under softmax(b z), and its label's entry."""
    for columns, at_label in _chunks(samples):
        weighted = torch.exp(columns * b)
        total = weighted.sum(0)
        mean = weighted.mul_(columns).sum(0) / total
        square = weighted.mul_(columns).sum(0) / total
        yield mean, square - mean.square(), at_label


def _chunks(samples: _Samples) -> Iterator[tuple[Tensor, Tensor]]:
    n_classes, n = samples.columns.shape
    n_rows = max(1, _NUMBERS_AT_ONCE // n_classes)
    for start in range(0, n, n_rows):
        part = slice(start, start + n_rows)
        yield samples.columns[:, part], samples.at_label[part]


def _mean_nll(samples: _Samples, b: float) -> float:
    total = torch.zeros((), dtype=torch.float64, device=samples.columns.device)
    for columns, at_label in _chunks(samples):
        total += (torch.exp(columns * b).sum(0).log() - b * at_label).sum()
    return float(total) / len(samples.at_label)


def _standard_error(samples: _Samples, b: float, n_draws: int) -> float | None:
    """Standard error of log T: sqrt(Var(s) / n) / (b mean Var_p z), s = E_p[z] - z_y."""
    n_samples = len(samples.at_label) // n_draws
    if n_samples < 2:
        return None
    moments = list(_row_moments(samples, b))
    residual = torch.cat([mean - at_label for mean, _, at_label in moments])
    variance = torch.cat([variance for _, variance, _ in moments])
    # Draws of one sample are not independent: their mean is one observation.
    per_sample = residual.view(n_draws, n_samples).mean(0)
    spread = math.sqrt(float(per_sample.var(correction=0)) / n_samples)
    return spread / (b * float(variance.mean()))
