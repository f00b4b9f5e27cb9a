"""`compare`: reports side by side -> a comparison; it computes on their numbers alone."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ddcal_core.formats.records import write_json
from ddcal_core.formats.reports import read_report
from ddcal_core.progress import Progress
from ddcal_core.specs.decision_rules import settings_key
from ddcal_core.specs.kinds.compare import CompareParams
from worker.trainer.comparing.cells import ReportInput, Result, read_result
from worker.trainer.comparing.comparison import compare, varied
from worker.trainer.comparing.page.page import comparison_page
from worker.trainer.comparing.samples import without_seed
from worker.trainer.comparing.table import TABLE, write_table
from worker.trainer.inputs import Input, Task, parse_json
from worker.trainer.outputs import Output

PHASE = "read reports"
MOST_ANALYSED = 8  # more curves in one figure tell nothing


class CompareInput(Input):
    """The reports, in the order asked for."""

    reports: Annotated[tuple[ReportInput, ...], Field(min_length=1)]


def run(task: Task) -> list[Output]:
    """Read, compare, write comparison.json, .html and .csv; one comparison comes out."""
    params = parse_json(CompareParams, task.params)
    given = parse_json(CompareInput, task.inputs).reports
    results = _results(params, given, task)
    record = compare(params, given, results)
    numbers, table = task.folder / "comparison.json", task.folder / TABLE
    page = task.folder / "comparison.html"
    write_json(numbers, record.as_json())
    write_table(table, results, list(record.varied))
    page.write_text(comparison_page(record, results), encoding="utf-8")
    files = (numbers, page, table)
    return [Output("comparison", "comparison", record.headline_values(), files)]


def _results(params: CompareParams, given: Sequence[ReportInput], task: Task) -> list[Result]:
    """Read the reports one by one; analyses are kept of the first result of equal settings."""
    paths = list(varied(params.reports))
    analysed: set[object] = set()
    found = []
    for place, (one, file) in enumerate(zip(params.reports, given, strict=True)):
        task.on_progress(Progress(phase=PHASE, step=place, steps=len(given)))
        if file.path is None:
            continue
        settings = {path: one.settings.get(path) for path in paths}
        key = settings_key(without_seed(settings))
        has_analyses = key not in analysed and len(analysed) < MOST_ANALYSED
        if has_analyses:
            analysed.add(key)
        report = read_report(file.path.read_bytes())
        found.append(
            read_result(file, report, place=place, settings=settings, has_analyses=has_analyses)
        )
    task.on_progress(Progress(phase=PHASE, step=len(given), steps=len(given)))
    return found
