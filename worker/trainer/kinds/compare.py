"""`compare`: reports side by side -> a comparison; it computes on numbers alone, no tensors."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ddcal_core.formats.comparisons import ComparedResult, ComparedRow, ComparisonRecord
from ddcal_core.formats.records import write_json
from ddcal_core.formats.reports import read_report
from ddcal_core.progress import Progress
from ddcal_core.specs.decision_rules import SettingValue, setting_key
from ddcal_core.specs.kinds.compare import ComparedReport, CompareParams
from worker.trainer.comparing.cells import Cell, ReportInput, Result, cells_of
from worker.trainer.comparing.table import TABLE, write_table
from worker.trainer.inputs import Input, Task, parse_json
from worker.trainer.outputs import Output

PHASE = "read reports"


class CompareInput(Input):
    """The reports, in the order asked for."""

    reports: Annotated[tuple[ReportInput, ...], Field(min_length=1)]


def run(task: Task) -> list[Output]:
    """Read, compare, write comparison.json and comparison.csv; one comparison comes out."""
    params = parse_json(CompareParams, task.params)
    given = parse_json(CompareInput, task.inputs).reports
    results = _results(params.reports, given, task)
    cells = cells_of(results)
    varied = _varied(params.reports)
    record = _record(params.reports, given, results, cells, varied)
    numbers, table = task.folder / "comparison.json", task.folder / TABLE
    write_json(numbers, record.as_json())
    write_table(table, results, list(varied))
    return [Output("comparison", "comparison", record.headline_values(), (numbers, table))]


def _results(
    asked: Sequence[ComparedReport], given: Sequence[ReportInput], task: Task
) -> list[Result]:
    found = []
    for place, (one, file) in enumerate(zip(asked, given, strict=True)):
        task.on_progress(Progress(phase=PHASE, step=place, steps=len(given)))
        if file.path is not None and file.report_id is not None:
            report = read_report(file.path.read_bytes())
            found.append(
                Result(
                    place=place,
                    report_id=file.report_id,
                    job_id=file.job_id,
                    settings=one.settings,
                    report=report,
                )
            )
    task.on_progress(Progress(phase=PHASE, step=len(given), steps=len(given)))
    return found


def _varied(asked: Sequence[ComparedReport]) -> dict[str, tuple[SettingValue, ...]]:
    """Give the values of each setting, in the order in which they come first."""
    paths = dict.fromkeys(path for one in asked for path in one.settings)
    return {
        path: tuple(
            {setting_key(one.settings.get(path)): one.settings.get(path) for one in asked}.values()
        )
        for path in paths
    }


def _record(
    asked: Sequence[ComparedReport],
    given: Sequence[ReportInput],
    results: Sequence[Result],
    cells: Sequence[Cell],
    varied: dict[str, tuple[SettingValue, ...]],
) -> ComparisonRecord:
    reports = {result.place: result.report for result in results}
    datasets = {report.dataset for report in reports.values()}
    return ComparisonRecord(
        dataset=datasets.pop() if len(datasets) == 1 else None,
        headline=f"{len(results)} results side by side.",
        findings=(f"{len(results)} results side by side.",),
        varied=varied,
        n_missing=len(given) - len(results),
        report_ids=tuple(result.report_id for result in results),
        results=tuple(
            ComparedResult(
                report_id=file.report_id,
                job_id=file.job_id,
                settings=one.settings,
                dataset=reports[place].dataset if place in reports else None,
                n_test=reports[place].n_test if place in reports else None,
                state=file.state,
                message=file.message,
            )
            for place, (one, file) in enumerate(zip(asked, given, strict=True))
        ),
        rows=tuple(map(_row, cells)),
    )


def _row(cell: Cell) -> ComparedRow:
    row = cell.row
    return ComparedRow(
        result=cell.place,
        training_set=cell.role,
        training_set_label=row.training_set_label,
        calibration=cell.calibration,
        method=cell.method,
        fit_on=cell.fit_on,
        mask_ratio=cell.mask_ratio,
        n_networks=row.n_networks,
        accuracy=row.accuracy,
        ece=row.ece,
        signed_gap=row.signed_gap,
        nll=row.nll,
        brier=row.brier,
        temperature=row.temperature,
    )
