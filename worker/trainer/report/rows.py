"""Measurements of many networks -> the rows of a report's table."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ddcal_core.formats.calibrations import CalibrationFindings, Failure
from ddcal_core.formats.report_rows import (
    FURTHER,
    METRICS,
    Bins,
    FurtherSummaries,
    MeanMetrics,
    NetworkRow,
    RequestedCalibration,
    Row,
    RowSubject,
    TemperatureSummary,
)
from ddcal_core.metrics import ReliabilityBins, wilson_interval
from worker.trainer.report.measurements import (
    Measurement,
    mean_and_deviation,
    open_mean_and_deviation,
)
from worker.trainer.report.network_words import loss_words
from worker.trainer.report.row_words import common_status, describe_row, failures_of, verdict_of
from worker.trainer.report.training_sets import Network, TrainingSet


@dataclass(frozen=True)
class Measured:
    """One network under one calibration.

    Attributes:
        model: the network.
        calibration_id: None for the reference T = 1 that nobody asked for.
        values: what the calibration found.
        after: the numbers under it.
        before: the numbers at T = 1.
        label: of the calibration, unlike any other of this network's.
    """

    model: Network
    calibration_id: str | None
    values: CalibrationFindings
    after: Measurement
    before: Measurement
    label: str


LEAST_PREDICTED = 5
"""Predictions of a class without which its disappearance is no more than chance."""


def build_rows(
    groups: Sequence[TrainingSet], measured: Sequence[Measured], *, n_test: int, n_bins: int
) -> list[Row]:
    """Give the table: one row a training set and calibration, `none` first.

    Args:
        groups: the training sets, in the order wanted.
        measured: every network under every calibration, `none` among them.
        n_test: number of test images.
        n_bins: bins of the ECE.
    """
    rows = []
    for index, group in enumerate(groups):
        ids = {model.id for model in group.models}
        by_label: dict[str, list[Measured]] = {}
        for one in measured:
            if one.model.id in ids:
                by_label.setdefault(one.label, []).append(one)
        # The sort is stable: after `none` come the others in the order they were asked for.
        for label in sorted(by_label, key=lambda label: label != "none"):
            placed = _Placed(index, group, label)
            rows.append(_row(by_label[label], placed, n_test=n_test, n_bins=n_bins))
    return rows


@dataclass(frozen=True)
class _Placed:
    """Where a row stands: its training set, that one's place, and its calibration's name."""

    index: int
    group: TrainingSet
    label: str


def _row(members: Sequence[Measured], placed: _Placed, *, n_test: int, n_bins: int) -> Row:
    subject = _subject(members, placed, n_test=n_test, n_bins=n_bins)
    after = _mean_metrics([member.after for member in members])
    verdict = verdict_of(after.ece.mean, after.signed_gap.mean, after.null_p95.mean)
    fitted = [member.values.failures for member in members]
    failures = [
        *_costs(members, n_test),
        *failures_of(subject.method, verdict, subject.status, fitted),
    ]
    ids = [member.calibration_id for member in members]
    return Row(
        **dict(subject),
        **dict(after),
        guessing=statistics.mean(member.before.guessing for member in members),
        before=_mean_metrics([member.before for member in members]),
        further=_further([member.after for member in members]),
        verdict=verdict,
        failures=tuple(failures),
        calibration_ids=tuple(id_ for id_ in ids if id_ is not None),
        networks=tuple(map(_network, members)),
        words=describe_row(after, verdict, subject.status, failures),
    )


def _costs(members: Sequence[Measured], n_test: int) -> list[Failure]:
    """Name what a calibration that changes predictions has taken from its networks."""
    before, after = (
        sum(one.accuracy for one in of) / len(members)
        for of in ([m.before for m in members], [m.after for m in members])
    )
    found: list[Failure] = []
    if after < wilson_interval(before, n_test)[0]:
        found.append("costs_accuracy")
    if any(_is_class_wiped_out(member.before, member.after) for member in members):
        found.append("class_wiped_out")
    return found


def _is_class_wiped_out(before: Measurement, after: Measurement) -> bool:
    pairs = zip(before.predicted, after.predicted, strict=True)
    return any(n >= LEAST_PREDICTED and n_left == 0 for n, n_left in pairs)


def _subject(
    members: Sequence[Measured], placed: _Placed, *, n_test: int, n_bins: int
) -> RowSubject:
    values, group = members[0].values, placed.group
    ratios = {member.values.mask_ratio for member in members}
    statuses = Counter(member.values.status for member in members)
    return RowSubject(
        training_set=group.source,
        training_set_label=group.label,
        training_images=group.images,
        training_set_index=placed.index,
        loss=loss_words(group.loss),
        calibration=placed.label,
        method=values.method,
        optimiser=values.optimiser,
        fit_on=values.fit_on,
        # With ratio auto each network may have its own.
        mask_ratio=next(iter(ratios)) if len(ratios) == 1 else None,
        n_networks=len(members),
        n_test=n_test,
        n_bins=n_bins,
        status=common_status(statuses),
        statuses=dict(statuses),
        temperature=_temperatures(members),
    )


def _temperatures(members: Sequence[Measured]) -> TemperatureSummary:
    temperatures = [member.values.temperature for member in members]
    found = [temperature for temperature in temperatures if temperature is not None]
    return TemperatureSummary(**dict(open_mean_and_deviation(found)), n=len(found))


def _mean_metrics(measurements: Sequence[Measurement]) -> MeanMetrics:
    each = {name: [getattr(one, name) for one in measurements] for name in METRICS}
    # The NLL alone can be infinite.
    nll = open_mean_and_deviation(each.pop("nll"))
    return MeanMetrics(nll=nll, **{name: mean_and_deviation(own) for name, own in each.items()})


def _further(measurements: Sequence[Measurement]) -> FurtherSummaries | None:
    measured = [one.further for one in measurements if one.further is not None]
    if len(measured) < len(measurements):
        return None
    return FurtherSummaries(
        **{name: mean_and_deviation([getattr(one, name) for one in measured]) for name in FURTHER}
    )


_OF_THE_FIT = {
    "status", "temperature", "n", "nll_before", "nll_after", "standard_error", "n_draws",
    "masked_accuracy", "clean_accuracy", "relative_temperature", "failures",
}  # fmt: skip


def _network(member: Measured) -> NetworkRow:
    model, values, after = member.model, member.values, member.after
    spec = values.spec
    return NetworkRow(
        model_id=model.id,
        calibration_id=member.calibration_id,
        seed=model.seed,
        seed_index=model.seed_index,
        **{name: getattr(values, name) for name in _OF_THE_FIT},
        spec=None if spec is None else RequestedCalibration(**spec.model_dump(mode="json")),
        **{name: getattr(after, name) for name in METRICS},
        ece_interval=after.ece_interval,
        further=after.further,
        bins=_bins(after.bins),
    )


def _bins(bins: ReliabilityBins) -> Bins:
    """Give bins with their signed gap and the interval of their accuracy; None where empty."""
    pairs = list(zip(bins.confidence, bins.accuracy, bins.count, strict=True))
    intervals = [None if right is None else wilson_interval(right, n) for _, right, n in pairs]
    return Bins(
        **vars(bins),
        signed_gap=tuple(
            None if shown is None or right is None else shown - right for shown, right, _ in pairs
        ),
        wilson_low=tuple(ends and ends[0] for ends in intervals),
        wilson_high=tuple(ends and ends[1] for ends in intervals),
    )
