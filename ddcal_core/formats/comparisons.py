"""What a comparison's comparison.json says, and how one is read back.

Needs no torch, as `reports`.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.calibrations import CalibrationMethod, FitOn
from ddcal_core.formats.records import Record, VersionedRecord, read_record
from ddcal_core.formats.report_rows import OpenSummary, Summary
from ddcal_core.specs.decision_rules import DecisionRule, RuleMetric, SettingValue
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


class Side(Record):
    """Networks that are compared: of all seeds, with equal settings.

    Attributes:
        settings: of the results, all but the seed.
        training_set: what was trained on, as a row has it.
        calibration: as a row has it; "MTS curve, ..." of a point of the reports' curves.
    """

    settings: dict[str, SettingValue]
    training_set: str
    calibration: str


Unit = Literal["seed", "network"]
"""What one value is of: a seed of the pipeline, which makes a set of its own, mean over its
networks; or, where only one seed is compared, a network."""


class Difference(Record):
    """What pairs of numbers say, one minus other.

    Attributes:
        metric: what is compared.
        of: the one.
        against: the other.
        unit: what a pair is of.
        n: pairs.
        mean: of the differences, in the metric's unit.
        interval: 95 %, by Student's t (paired); None for one pair, which says nothing.
        p: of the paired t test, two-sided; None for one pair, or where all are equal.
        values: of each pair.
    """

    metric: RuleMetric
    of: Side
    against: Side
    unit: Unit
    n: int
    mean: float
    interval: tuple[float, float] | None
    p: float | None
    values: tuple[float, ...]


class SeriesPoint(Record):
    """A number at one value of a setting.

    Attributes:
        x: the value.
        n: seeds, or networks.
        mean: over these, in the metric's unit.
        interval: 95 % for the mean, by Student's t; None for one.
        values: of each.
    """

    x: float
    n: int
    mean: float
    interval: tuple[float, float] | None
    values: tuple[float, ...]


class BestValue(Record):
    """The value of a setting at which a mean is best: the lowest ECE, the highest accuracy.

    Attributes:
        value: it.
        interval: 95 % of the values that are best when seeds are drawn anew (percentile bootstrap,
            2,000 draws); None for one seed.
        share: of these draws that it is best in; None likewise.
        n: seeds, or networks, that all values have.
    """

    value: float
    interval: tuple[float, float] | None
    share: float | None
    n: int


class Series(Record):
    """A number over a numeric setting, all others held.

    Attributes:
        path: of the setting.
        held: the other settings, all but the seed.
        training_set: what was trained on, as a row has it.
        calibration: as a row has it.
        metric: what is followed.
        unit: what one value of a point is of.
        points: by rising value.
        best: where it is best; None where no seed has all values.
        falls_at: of accuracy, the smallest value above the base's at which it is lower by more
            than the interval of the paired differences; None where there is none.
    """

    path: str
    held: dict[str, SettingValue]
    training_set: str
    calibration: str
    metric: RuleMetric
    unit: Unit
    points: tuple[SeriesPoint, ...]
    best: BestValue | None
    falls_at: float | None


class HeatMap(Record):
    """ECE over the mask ratio of the distillation (MDT) and of temperature scaling (MTS).

    Attributes:
        path: of the distillation's ratio.
        held: the other settings, all but the seed.
        training_set: what was trained on, as a row has it.
        unit: what is averaged over.
        mdt_ratios: rising, a column each.
        mts_ratios: rising, a row each; T is fitted on the training set itself.
        ece: row by row; None where there is none.
        n: seeds, or networks, behind each.
    """

    path: str
    held: dict[str, SettingValue]
    training_set: str
    unit: Unit
    mdt_ratios: tuple[float, ...]
    mts_ratios: tuple[float, ...]
    ece: tuple[tuple[float | None, ...], ...]
    n: tuple[tuple[int, ...], ...]


Outcome = Literal["confirmed", "refuted", "open"]


class RuleComparison(Record):
    """One of the comparisons that decide a rule.

    Attributes:
        of: a candidate.
        against: what it is compared with.
        n: paired seeds.
        mean: of the differences, candidate minus other, in the metric's unit; None without a pair.
        interval: at the rule's level, by Student's t (paired); None for fewer than two.
        outcome: of this comparison.
    """

    of: Side
    against: Side
    n: int
    mean: float | None
    interval: tuple[float, float] | None
    outcome: Outcome


class Verdict(Record):
    """What a rule comes to.

    Attributes:
        rule: as it was fixed.
        outcome: confirmed, refuted or open.
        words: why, with the numbers.
        comparisons: behind it.
    """

    rule: DecisionRule
    outcome: Outcome
    words: str
    comparisons: tuple[RuleComparison, ...]


class ComparedLine(Record):
    """Networks of equal settings, mean over seeds.

    Attributes:
        settings: all but the seed.
        n: seeds, or networks where all results are of one seed.
        accuracy: as trained, in [0, 1].
        ece: calibration, as a row has it -> expected calibration error in [0, 1].
    """

    settings: dict[str, SettingValue]
    n: int
    accuracy: float | None
    ece: dict[str, float]


class ComparisonHeadline(Record):
    """What is stored of a comparison beside its files; fractions, not percent.

    Attributes:
        dataset: name of the data set of all results; None of several.
        headline: the main finding.
        findings: what the numbers say, in sentences, the headline first.
        varied: path of a setting -> its values, in the order in which the results have them.
        lines: the networks on the first training set, a line a combination of settings; the first
            200 of them.
        n_missing: results asked for that have no report.
        verdicts: name of each rule -> what it comes to.
        report_ids: of all reports compared.
    """

    dataset: str | None
    headline: str
    findings: tuple[str, ...]
    varied: dict[str, tuple[SettingValue, ...]]
    lines: tuple[ComparedLine, ...]
    n_missing: int
    verdicts: dict[str, Outcome]
    report_ids: tuple[str, ...]


class ComparisonRecord(ComparisonHeadline, VersionedRecord):
    """A comparison's comparison.json.

    Attributes:
        format: for other programs.
        results: what is compared, in the order asked for.
        rows: of all results, those of one result together.
        base: settings of what the others are compared with, all but the seed.
        differences: against the base, a setting at a time.
        calibration_differences: ECE of each calibration against the same networks as trained.
        series: over each numeric setting.
        heat_maps: MDT beside MTS, where both vary.
        decided: each rule with its verdict.
    """

    KIND: ClassVar[str] = "comparison"

    format: str = "ddcal comparison 1"
    results: tuple[ComparedResult, ...]
    rows: tuple[ComparedRow, ...]
    base: dict[str, SettingValue]
    differences: tuple[Difference, ...]
    calibration_differences: tuple[Difference, ...]
    series: tuple[Series, ...]
    heat_maps: tuple[HeatMap, ...]
    decided: tuple[Verdict, ...]

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
