"""The rows of a report's table as report.json holds them: means over networks, and each network."""

from typing import Generic, Literal, TypeVar

from pydantic import ConfigDict, Field

from ddcal_core.formats.calibrations import (
    CalibrationMethod,
    CalibrationStatus,
    Failure,
    FitOn,
    TrainingSource,
)
from ddcal_core.formats.records import Record
from ddcal_core.specs.calibration import Optimiser
from ddcal_core.specs.fields import is_none

Verdict = Literal["over-confident", "under-confident", "off both ways", "within chance"]
RowStatus = CalibrationStatus | Literal["mixed"]
"""Of several networks: what all of them have, else "mixed"."""
ValueT = TypeVar("ValueT")


class Summary(Record):
    """Mean and deviation over networks, or over sets drawn anew.

    Attributes:
        mean: in the unit of what was summarised.
        std: sample standard deviation (n - 1), >= 0; None for one value.
    """

    mean: float
    std: float | None


class OpenSummary(Record):
    """A summary of numbers that may be infinite or not there.

    Attributes:
        mean: None where one of them is infinite, or there are none.
        std: sample standard deviation (n - 1), >= 0; None without a mean, or for one value.
        word: what stands in place of a mean, as JSON has no number for it.
    """

    mean: float | None
    std: float | None
    word: Literal["infinite", "none"] | None = Field(None, exclude_if=is_none)


class TemperatureSummary(OpenSummary):
    """A summary of the temperatures found, each T > 0.

    Attributes:
        n: networks for which one was found.
    """

    n: int


class NetworkMetrics(Record):
    """One network's numbers on the test images.

    Attributes:
        accuracy: in [0, 1].
        nll: mean negative log-likelihood in nats; None where it is infinite.
        brier: summed over classes, in [0, 2].
        ece: expected calibration error, in [0, 1].
        signed_gap: mean confidence - accuracy, in [-1, 1]; above 0 over-confident.
        null_mean: ECE of a perfectly calibrated network with these confidences, mean over draws.
        null_p95: its 95 % point.
    """

    accuracy: float
    nll: float | None
    brier: float
    ece: float
    signed_gap: float
    null_mean: float
    null_p95: float


METRICS = tuple(NetworkMetrics.model_fields)


class MeanMetrics(Record):
    """The numbers of one network, each as a summary over networks.

    Attributes:
        accuracy: in [0, 1].
        nll: mean negative log-likelihood in nats.
        brier: summed over classes, in [0, 2].
        ece: expected calibration error, in [0, 1].
        signed_gap: mean confidence - accuracy, in [-1, 1]; above 0 over-confident.
        null_mean: ECE of a perfectly calibrated network with these confidences, mean over draws.
        null_p95: its 95 % point.
    """

    accuracy: Summary
    nll: OpenSummary
    brier: Summary
    ece: Summary
    signed_gap: Summary
    null_mean: Summary
    null_p95: Summary


class FurtherMeasures(Record, Generic[ValueT]):
    """What else is measured of the same predictions (`ddcal_core.metrics`), one number each.

    All are in [0, 1], but for the debiased error, which noise can take below 0. Of one network
    they are numbers, of a row summaries.

    Attributes:
        root_mean_square_calibration_error: of bins of equal width, squared gaps averaged.
        maximum_calibration_error: the largest gap of a bin.
        adaptive_calibration_error: of bins of equally many images.
        classwise_calibration_error: mean over classes of each one's ECE.
        debiased_calibration_error: squared, with the bias of small bins taken off.
        smooth_calibration_error: without bins.
        area_under_risk_coverage: of predictions ranked by confidence.
    """

    root_mean_square_calibration_error: ValueT
    maximum_calibration_error: ValueT
    adaptive_calibration_error: ValueT
    classwise_calibration_error: ValueT
    debiased_calibration_error: ValueT
    smooth_calibration_error: ValueT
    area_under_risk_coverage: ValueT


class FurtherSummaries(FurtherMeasures[Summary]):
    """What else is measured, each as a summary over networks."""


FURTHER = tuple(FurtherMeasures.model_fields)


class Bins(Record):
    """A network's reliability diagram of M bins of equal width, bin by bin.

    Attributes:
        edges: M + 1 of them, 0 to 1; bin m is (edges[m], edges[m + 1]], the first with 0.
        count: test images in each bin.
        confidence: mean confidence in [0, 1]; None where the bin is empty, as below.
        accuracy: share of right predictions, in [0, 1].
        signed_gap: confidence - accuracy, in [-1, 1].
        wilson_low: lower end of the 95 % interval of the accuracy (Wilson 1927).
        wilson_high: its upper end.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    signed_gap: tuple[float | None, ...]
    wilson_low: tuple[float | None, ...]
    wilson_high: tuple[float | None, ...]


class RequestedCalibration(Record):
    """What was asked for: its method, and all else as its spec has it.

    No method's own spec: what can be asked of uploaded logits decides nothing of other reports.

    Attributes:
        method: of the calibration.
        fit_on: which images; uploaded logits have no choice.
    """

    model_config = ConfigDict(extra="allow")

    method: CalibrationMethod
    fit_on: FitOn | None = Field(None, exclude_if=is_none)


class NetworkFit(Record):
    """What a calibration has found for one network; see `ddcal_core.formats.calibrations`.

    Attributes:
        model_id: of the network, or the name of uploaded logits.
        calibration_id: None for the reference T = 1 that nobody asked for, and for logits.
        seed: of the job that trained the network; None where that is not known.
        seed_index: its place among the networks of its job; likewise.
        status: "ok", or why there is nothing to apply or not the best.
        temperature: T > 0; None where there is none, or more than one number was fitted.
        n: images fitted on.
        nll_before: mean NLL of these at T = 1, in nats; None where infinite or not fitted.
        nll_after: likewise, under what was found.
        standard_error: of log T.
        n_draws: masks drawn for each image.
        masked_accuracy: on the masked images, in [0, 1].
        clean_accuracy: on the same images unmasked, in [0, 1].
        relative_temperature: T over the spread of the logits.
        failures: by name, as the fit saw them.
        spec: what was asked for; None where nobody asked.
    """

    model_id: str
    calibration_id: str | None
    seed: int | None
    seed_index: int | None
    status: CalibrationStatus
    temperature: float | None
    n: int
    nll_before: float | None
    nll_after: float | None
    standard_error: float | None
    n_draws: int | None
    masked_accuracy: float | None
    clean_accuracy: float | None
    relative_temperature: float | None
    failures: tuple[Failure, ...]
    spec: RequestedCalibration | None


class NetworkRow(NetworkMetrics, NetworkFit):
    """One network under one calibration.

    Attributes:
        ece_interval: 95 % for the ECE on all images of this kind; None at a limit.
        further: other measures; None at a limit.
        bins: of the ECE.
    """

    ece_interval: tuple[float, float] | None
    further: FurtherMeasures[float] | None
    bins: Bins


class RowSubject(Record):
    """What a row is about: a training set, a calibration, and what that found.

    Attributes:
        training_set: what was trained on; "elsewhere" for uploaded logits.
        training_set_label: for people, unlike any other's of the report.
        training_images: what was trained on, in a sentence.
        training_set_index: place among the report's training sets, from 0.
        loss: what was trained to minimise, in words; "not known" of a network made elsewhere.
        calibration: for people, unlike any other's of the training set.
        method: of the calibration.
        optimiser: what solved a temperature; None where nobody could choose.
        fit_on: which images or rows; None for method none.
        mask_ratio: share of pixels masked while T was fitted, in [0, 1); None where none were, or
            each network has its own.
        n_networks: networks of the row.
        n_test: test images behind each number.
        n_bins: of the ECE.
        status: of the fits.
        statuses: how many networks have each.
        temperature: over those for which one was found.
    """

    training_set: TrainingSource | Literal["elsewhere"]
    training_set_label: str
    training_images: str
    training_set_index: int
    loss: str
    calibration: str
    method: CalibrationMethod
    optimiser: Optimiser | None
    fit_on: FitOn | None
    mask_ratio: float | None
    n_networks: int
    n_test: int
    n_bins: int
    status: RowStatus
    statuses: dict[CalibrationStatus, int]
    temperature: TemperatureSummary


class RowSummary(MeanMetrics, RowSubject):
    """One row of the table: the networks of one training set under one calibration, together.

    Attributes:
        guessing: test accuracy of the same predictions in random order, in [0, 1]; None in reports
            from before it was measured.
        before: the numbers of the same networks at T = 1.
        further: other measures; None where some network is at a limit.
        verdict: which way the row is miscalibrated, if by more than chance shows.
        failures: what went wrong, by name.
        calibration_ids: of the networks' calibrations, where they have one.
        words: the row in a sentence or two.
    """

    guessing: float | None
    before: MeanMetrics
    further: FurtherSummaries | None
    verdict: Verdict
    failures: tuple[Failure, ...]
    calibration_ids: tuple[str, ...]
    words: str


class Row(RowSummary):
    """A row with each network by itself.

    Attributes:
        networks: one by one.
    """

    networks: tuple[NetworkRow, ...]
