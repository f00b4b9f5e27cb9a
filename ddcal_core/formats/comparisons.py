"""What a comparison's comparison.json says, and how one is read back.

Needs no torch, as `reports`.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import CalibrationMethod, FitOn
from ddcal_core.formats.records import Record, VersionedRecord, read_record
from ddcal_core.formats.report_rows import OpenSummary, Summary
from ddcal_core.specs.decision_rules import SettingValue
from ddcal_core.specs.fields import is_none


class ComparedResult(Record):
    """A result that is compared, or one that was to be.

    Attributes:
        report_id: of its report; None of a job that has made none.
        job_id: of the job that made the report, or was to.
        settings: what sets it apart: path in the params of a pipeline -> value.
        dataset: name of the data set, or of the logits.
        n_test: test images behind each number.
        state: how a job without a report has ended.
        message: why.
    """

    report_id: str | None
    job_id: str
    settings: dict[str, SettingValue]
    dataset: str | None = None
    n_test: int | None = None
    state: str | None = Field(None, exclude_if=is_none)
    message: str | None = Field(None, exclude_if=is_none)


class ComparedRow(Record):
    """The networks of one training set of one result under one calibration.

    Attributes:
        result: place among the results, from 0.
        training_set: what was trained on, in a word; of several alike in one report the second is
            "distilled #2".
        training_set_label: as the report calls it.
        calibration: for people; the same in all results.
        method: of the calibration.
        fit_on: which images or rows; None for method none.
        mask_ratio: share of pixels masked while T was fitted; None where none were, or each
            network has its own.
        n_networks: networks of the row.
        accuracy: in [0, 1]; mean and deviation over the networks, as below.
        ece: expected calibration error, in [0, 1].
        signed_gap: mean confidence - accuracy, in [-1, 1].
        nll: mean negative log-likelihood in nats.
        brier: summed over classes, in [0, 2].
        temperature: over networks for which one was found.
    """

    result: int
    training_set: str
    training_set_label: str
    calibration: str
    method: CalibrationMethod
    fit_on: FitOn | None
    mask_ratio: float | None
    n_networks: int
    accuracy: Summary
    ece: Summary
    signed_gap: Summary
    nll: OpenSummary
    brier: Summary
    temperature: OpenSummary


class ComparisonHeadline(Record):
    """What is stored of a comparison beside its files; fractions, not percent.

    Attributes:
        dataset: name of the data set of all results; None of several.
        headline: the main finding.
        findings: what the numbers say, in sentences, the headline first.
        varied: path of a setting -> its values, in the order in which the results have them.
        n_missing: results asked for that have no report.
        report_ids: of all reports compared.
    """

    dataset: str | None
    headline: str
    findings: tuple[str, ...]
    varied: dict[str, tuple[SettingValue, ...]]
    n_missing: int
    report_ids: tuple[str, ...]


class ComparisonRecord(ComparisonHeadline, VersionedRecord):
    """A comparison's comparison.json.

    Attributes:
        format: for other programs.
        results: what is compared, in the order asked for.
        rows: of all results, those of one result together.
    """

    KIND: ClassVar[str] = "comparison"

    format: str = "ddcal comparison 1"
    results: tuple[ComparedResult, ...]
    rows: tuple[ComparedRow, ...]

    @classmethod
    def upgraded(cls, held: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse: comparisons are younger than version 2, and each says its version."""
        raise InvalidDataError(
            f"wanted a {cls.KIND} of version 2, the first that there is; got one of version "
            f"{held.get('version', 1)}"
        )

    def headline_values(self) -> dict[str, Any]:
        """Give the comparison's headline as JSON values."""
        return self.model_dump(mode="json", include=set(ComparisonHeadline.model_fields))


def read_comparison(held: bytes | str) -> ComparisonRecord:
    """Read a comparison.json.

    Raises:
        InvalidDataError: it is none, or of a version that this ddcal does not know.
    """
    try:
        fields = json.loads(held)
    except ValueError as error:
        raise InvalidDataError(f"wanted a comparison as JSON; got: {error}") from error
    if not isinstance(fields, Mapping):
        raise InvalidDataError(f"wanted a comparison's fields; got {type(fields).__name__}")
    return read_record(ComparisonRecord, fields)
