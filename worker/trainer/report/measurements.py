"""What one network shows on the test images under one temperature, limits included."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcal_core.calibration.masked import (
    LimitMetrics,
    infinite_temperature_limit,
    zero_temperature_limit,
)
from ddcal_core.formats.calibrations import CalibrationStatus
from ddcal_core.formats.report_rows import FurtherMeasures, OpenSummary, Summary
from ddcal_core.metrics import (
    NullLevel,
    ReliabilityBins,
    accuracy,
    adaptive_calibration_error,
    area_under_risk_coverage,
    brier_score,
    classwise_calibration_error,
    debiased_calibration_error,
    ece_interval,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    null_level,
    probabilities_at,
    reliability_bins,
    root_mean_square_calibration_error,
    signed_calibration_gap,
    smooth_calibration_error,
)
from worker.trainer.fitting.calibrations import finite_or_none

N_INTERVAL_DRAWS = 400


@dataclass(frozen=True)
class Measurement:
    """A network's numbers on the test images.

    Attributes:
        accuracy: in [0, 1].
        nll: in nats, from logits; None where it is infinite.
        brier: summed over classes, in [0, 2].
        ece: in [0, 1].
        signed_gap: mean confidence - accuracy, in [-1, 1].
        null_mean: ECE of a perfectly calibrated model with these confidences, mean over draws.
        null_p95: its 95 % point.
        bins: the bins of the ECE.
        ece_interval: 95 % for the ECE on all images of this kind (`metrics.ece_interval`); None
            at a limit.
        further: other measures of the same predictions; None at a limit.
        predicted: how often each class is predicted.
        guessing: accuracy that the same predictions would have in random order, in [0, 1]: that
            of naming the largest class where a network always does.
    """

    accuracy: float
    nll: float | None
    brier: float
    ece: float
    signed_gap: float
    null_mean: float
    null_p95: float
    bins: ReliabilityBins
    ece_interval: tuple[float, float] | None = None
    further: FurtherMeasures[float] | None = None
    predicted: tuple[int, ...] = ()
    guessing: float = 0.0


# Tensors have no one truth value, so that values of this class are equal to themselves alone.
@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network says of the test images under one calibration.

    Attributes:
        confidence: float64 (N,), of the predicted class, in [0, 1].
        predicted: int64 (N,), the first largest logit.
        is_right: bool (N,).
    """

    confidence: Tensor
    predicted: Tensor
    is_right: Tensor


def predict(
    logits: Tensor, labels: Tensor, *, status: CalibrationStatus, temperature: float | None
) -> Predictions:
    """Give predictions under a temperature or the limit its status stands for; see `measure`.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
        status: of the fit.
        temperature: T > 0 when status is "ok".
    """
    predicted = logits.argmax(1)
    if status == "separable":
        # As T -> 0, classes that tie for the largest logit share all probability equally.
        confidence = 1 / (logits == logits.amax(1, keepdim=True)).sum(1).double()
    elif status == "worse_than_chance":
        confidence = torch.full((len(logits),), 1 / logits.shape[1], dtype=torch.float64)
    else:
        confidence = probabilities_at(logits, temperature or 1.0).amax(1)
    return Predictions(confidence, predicted, predicted == labels)


def measure(
    logits: Tensor,
    labels: Tensor,
    *,
    status: CalibrationStatus,
    temperature: float | None,
    n_bins: int,
    generator: torch.Generator,
) -> Measurement:
    """Measure logits under a temperature, or under the limit its status stands for.

    separable: T -> 0; worse_than_chance: T -> infinity; unidentified: every T fits alike, so the
    network is left as it is, T = 1.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
        status: of the fit.
        temperature: T > 0 when status is "ok".
        n_bins: equal-width bins of the ECE.
        generator: draws the null level.
    """
    if status == "separable":
        measured = _at_zero(logits, labels, n_bins, generator)
    elif status == "worse_than_chance":
        measured = _at_infinity(logits, labels, n_bins, generator)
    else:
        measured = _at_temperature(logits, labels, temperature or 1.0, n_bins, generator)
    n_classes = logits.shape[1]
    predicted = logits.argmax(1).bincount(minlength=n_classes)
    guessing = float(predicted @ labels.bincount(minlength=n_classes)) / len(labels) ** 2
    return dataclasses.replace(measured, predicted=tuple(predicted.tolist()), guessing=guessing)


def ece_and_gap(
    logits: Tensor,
    labels: Tensor,
    *,
    status: CalibrationStatus,
    temperature: float | None,
    n_bins: int,
) -> tuple[float, float]:
    """Give ECE and signed gap alone, of a temperature or the limit its status stands for.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
        status: of the fit.
        temperature: T > 0 when status is "ok".
        n_bins: equal-width bins.
    """
    if status == "separable":
        limit = zero_temperature_limit(logits, labels, n_bins)
        return limit.ece, limit.signed_gap
    if status == "worse_than_chance":
        limit = infinite_temperature_limit(logits, labels)
        return limit.ece, limit.signed_gap
    probabilities = probabilities_at(logits, temperature or 1.0)
    return (
        expected_calibration_error(probabilities, labels, n_bins),
        signed_calibration_gap(probabilities, labels),
    )


def _at_temperature(
    logits: Tensor, labels: Tensor, temperature: float, n_bins: int, generator: torch.Generator
) -> Measurement:
    probabilities = probabilities_at(logits, temperature)
    # The null level draws before the interval: the other way round both would be other numbers.
    null = null_level(probabilities.amax(1), n_bins, generator=generator)
    interval = ece_interval(
        probabilities, labels, n_bins, generator=generator, n_draws=N_INTERVAL_DRAWS
    )
    return Measurement(
        ece_interval=(interval.low, interval.high),
        accuracy=accuracy(logits, labels),
        nll=finite_or_none(negative_log_likelihood(logits, labels, temperature)),
        brier=brier_score(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels, n_bins),
        signed_gap=signed_calibration_gap(probabilities, labels),
        null_mean=null.mean,
        null_p95=null.p95,
        bins=reliability_bins(probabilities, labels, n_bins),
        further=_further(probabilities, labels, n_bins),
    )


def _further(probabilities: Tensor, labels: Tensor, n_bins: int) -> FurtherMeasures[float]:
    data = (probabilities, labels)
    return FurtherMeasures[float](
        root_mean_square_calibration_error=root_mean_square_calibration_error(*data, n_bins),
        maximum_calibration_error=maximum_calibration_error(*data, n_bins).value,
        adaptive_calibration_error=adaptive_calibration_error(*data, n_bins),
        classwise_calibration_error=classwise_calibration_error(*data, n_bins),
        debiased_calibration_error=debiased_calibration_error(*data, n_bins),
        smooth_calibration_error=smooth_calibration_error(*data),
        area_under_risk_coverage=area_under_risk_coverage(*data),
    )


def _at_zero(
    logits: Tensor, labels: Tensor, n_bins: int, generator: torch.Generator
) -> Measurement:
    is_largest = (logits == logits.amax(1, keepdim=True)).double()
    probabilities = is_largest / is_largest.sum(1, keepdim=True)
    null = null_level(probabilities.amax(1), n_bins, generator=generator)
    limit = zero_temperature_limit(logits, labels, n_bins)
    return _limit_measurement(limit, null, reliability_bins(probabilities, labels, n_bins))


def _at_infinity(
    logits: Tensor, labels: Tensor, n_bins: int, generator: torch.Generator
) -> Measurement:
    uniform = torch.full_like(logits, 1 / logits.shape[1], dtype=torch.float64)
    null = null_level(uniform.amax(1), n_bins, generator=generator)
    limit = infinite_temperature_limit(logits, labels)
    # Uniform probabilities have lost which class is largest; in the limit it stays the logits'.
    bins = reliability_bins(uniform, labels, n_bins)
    shares = tuple(limit.accuracy if n else None for n in bins.count)
    return _limit_measurement(limit, null, dataclasses.replace(bins, accuracy=shares))


def _limit_measurement(limit: LimitMetrics, null: NullLevel, bins: ReliabilityBins) -> Measurement:
    return Measurement(
        accuracy=limit.accuracy,
        nll=finite_or_none(limit.nll),
        brier=limit.brier,
        ece=limit.ece,
        signed_gap=limit.signed_gap,
        null_mean=null.mean,
        null_p95=null.p95,
        bins=bins,
    )


def mean_and_deviation(values: Sequence[float]) -> Summary:
    """Give mean and sample standard deviation (n - 1) over networks.

    Args:
        values: finite, at least one; a deviation needs two.
    """
    numbers = torch.tensor(values, dtype=torch.float64)
    deviation = float(numbers.std()) if len(values) > 1 else None
    return Summary(mean=float(numbers.mean()), std=deviation)


def open_mean_and_deviation(values: Sequence[float | None]) -> OpenSummary:
    """Give mean and deviation of what may be infinite (None), or not there.

    One infinite value makes the mean infinite, said by a word, as JSON has no number for it.
    """
    finite = [value for value in values if value is not None]
    if len(finite) < len(values) or not values:
        return OpenSummary(mean=None, std=None, word="infinite" if values else "none")
    return OpenSummary(**dict(mean_and_deviation(finite)))
