"""Reports side by side -> the record of a comparison."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from ddcal_core.formats.comparisons import (
    ComparedLine,
    ComparedResult,
    ComparisonRecord,
)
from ddcal_core.specs.decision_rules import SettingValue, setting_key
from ddcal_core.specs.kinds.compare import ComparedReport, CompareParams
from worker.trainer.comparing.cells import ReportInput, Result
from worker.trainer.comparing.differences import base_of, calibration_differences, differences
from worker.trainer.comparing.factors import factors_of
from worker.trainer.comparing.findings import findings
from worker.trainer.comparing.samples import Key, Sample, samples_of, without_seed
from worker.trainer.comparing.series import heat_maps, series
from worker.trainer.comparing.verdicts import verdict

MOST_LINES = 200
"""Of those that lists and the command line show."""


def compare(
    params: CompareParams, given: Sequence[ReportInput], results: Sequence[Result]
) -> ComparisonRecord:
    """Compare results.

    Args:
        params: of the job.
        given: what each of its references has led to.
        results: of these, those that have a report.
    """
    cells = [cell for result in results for cell in result.cells]
    points = [point for result in results for point in result.points]
    factors = factors_of([without_seed(result.settings) for result in results])
    base = base_of(factors, params.base)
    # What was varied and found no report is in `varied`, but no factor.
    fixed = {path: results[0].settings[path] for path in without_seed(results[0].settings)}
    base = {**fixed, **base}
    samples = samples_of(results, cells)
    everywhere = [*samples, *samples_of(results, points)]
    over = series(samples, factors, base)
    against_base = differences(samples, factors, base)
    decided = [verdict(rule, everywhere) for rule in params.rules]
    n_missing = len(given) - len(results)
    said = findings(
        n_results=len(results),
        n_missing=n_missing,
        series=over,
        differences=against_base,
        verdicts=decided,
    )
    datasets = {result.dataset for result in results}
    return ComparisonRecord(
        dataset=datasets.pop() if len(datasets) == 1 else None,
        headline=said[0],
        findings=tuple(said),
        varied=varied(params.reports),
        lines=tuple(_lines(samples))[:MOST_LINES],
        n_missing=n_missing,
        verdicts={one.rule.name: one.outcome for one in decided},
        report_ids=tuple(dict.fromkeys(result.report_id for result in results)),
        results=tuple(_results(params.reports, given, results)),
        rows=tuple(cell.row for cell in cells if cell.row is not None),
        base=base,
        differences=tuple(against_base),
        calibration_differences=tuple(calibration_differences(samples)),
        series=tuple(over),
        heat_maps=tuple(heat_maps(everywhere, factors)),
        decided=tuple(decided),
    )


def _lines(samples: Sequence[Sample]) -> Iterator[ComparedLine]:
    own = [one for one in samples if one.role == samples[0].role]
    of_settings: dict[Key, list[Sample]] = {}
    for one in own:
        of_settings.setdefault(one.key, []).append(one)
    for group in of_settings.values():
        values = {one.calibration: list(one.values("ece").values()) for one in group}
        accuracies = list(group[0].values("accuracy").values())
        yield ComparedLine(
            settings=dict(group[0].settings),
            n=len(accuracies),
            accuracy=fmean(accuracies) if accuracies else None,
            ece={name: fmean(found) for name, found in values.items() if found},
        )


def varied(asked: Sequence[ComparedReport]) -> dict[str, tuple[SettingValue, ...]]:
    """Give the values of each setting, in the order in which they come first."""
    paths = dict.fromkeys(path for one in asked for path in one.settings)
    values = {
        path: {setting_key(one.settings.get(path)): one.settings.get(path) for one in asked}
        for path in paths
    }
    return {path: tuple(found.values()) for path, found in values.items()}


def _results(
    asked: Sequence[ComparedReport], given: Sequence[ReportInput], results: Sequence[Result]
) -> list[ComparedResult]:
    made = {result.place: result for result in results}
    found = []
    for place, (one, file) in enumerate(zip(asked, given, strict=True)):
        result = made.get(place)
        found.append(
            ComparedResult(
                report_id=file.report_id,
                job_id=file.job_id,
                settings=one.settings,
                dataset=None if result is None else result.dataset,
                n_test=None if result is None else result.n_test,
                state=file.state,
                message=file.message,
            )
        )
    return found
