"""What reports have found of a result, for its card: calibration error before and after."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ddcal_core.formats.report_rows import NetworkRow, Row
from ddcal_core.formats.reports import Report

Counts = Callable[[Report, Row, NetworkRow], bool]
Interval = tuple[float, float] | None
MOST_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network under a calibration, on test images; all but the counts in [0, 1].

    Attributes:
        report_id: which report says so.
        trained_on: for people.
        seed_index: the network's place among those of its job.
        calibration: for people.
        accuracy: after calibration.
        ece_before: expected calibration error at T = 1.
        ece_after: likewise under the calibration.
        interval_before: 95 %, for the error on all images of this kind; None at a limit.
        interval_after: likewise.
        n_test: images measured on.
        n_bins: of the error.
    """

    report_id: str
    trained_on: str
    seed_index: int | None
    calibration: str
    accuracy: float
    ece_before: float
    ece_after: float
    interval_before: Interval
    interval_after: Interval
    n_test: int
    n_bins: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Reports by id, and which of their networks and calibrations count.

    Attributes:
        reports: the newest first.
        counts: whether a network under a calibration, in a row of a report, is of the result.
    """

    reports: Mapping[str, Report]
    counts: Counts

    def lines(self) -> list[Measured]:
        """What there is, in the order of the reports, at most `MOST_LINES`."""
        found = [
            one for report_id, report in self.reports.items() for one in self._of(report_id, report)
        ]
        return found[:MOST_LINES]

    def _of(self, report_id: str, report: Report) -> Iterator[Measured]:
        as_they_are = {
            (row.training_set_index, network.model_id): network
            for row in report.rows
            if row.method == "none"
            for network in row.networks
        }
        counted = [
            (row, network)
            for row in report.rows
            for network in row.networks
            if self.counts(report, row, network)
        ]
        calibrated = {network.model_id for row, network in counted if row.method != "none"}
        for row, network in counted:
            before = as_they_are.get((row.training_set_index, network.model_id))
            # As it is stands beside each of its calibrations; by itself only without any.
            is_told = row.method != "none" or network.model_id not in calibrated
            if before is not None and is_told:
                yield Measured(
                    report_id=report_id,
                    trained_on=row.training_set_label,
                    seed_index=network.seed_index,
                    calibration=row.calibration,
                    accuracy=network.accuracy,
                    ece_before=before.ece,
                    ece_after=network.ece,
                    interval_before=before.ece_interval,
                    interval_after=network.ece_interval,
                    n_test=row.n_test,
                    n_bins=row.n_bins,
                )


def trained_on_set(set_id: str) -> Counts:
    """Networks trained on a distilled set."""
    return lambda report, row, _network: (
        report.training_sets[row.training_set_index].distilled_set_id == set_id
    )


def of_model(model_id: str) -> Counts:
    """One network under each of its calibrations."""
    return lambda _report, _row, network: network.model_id == model_id


def of_calibration(calibration_id: str) -> Counts:
    """One calibration."""
    return lambda _report, _row, network: network.calibration_id == calibration_id
