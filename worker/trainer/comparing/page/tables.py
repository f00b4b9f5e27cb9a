"""The tables of a comparison's page: what differs, the numbers, and where each comes from."""

from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

from ddcal_core.formats.comparisons import ComparisonRecord
from ddcal_core.metrics.over_seeds import estimate
from worker.trainer.comparing.cells import AS_TRAINED, Cell, Result
from worker.trainer.comparing.factors import Factor, factors_of
from worker.trainer.comparing.samples import Sample, samples_of, without_seed
from worker.trainer.comparing.words import short, value_words
from worker.trainer.report.page.templates import safe, stacked_table

MOST_VALUES, MOST_LINES = 12, 200


def differing_section(record: ComparisonRecord) -> str:
    """Show each setting that differs, with its values."""
    if not record.varied:
        return (
            "<section><h2>What differs</h2><p>No setting differs: these are the same runs, made "
            "more than once.</p></section>"
        )
    lines = []
    for path, values in record.varied.items():
        shown = ", ".join(value_words(value) for value in values[:MOST_VALUES])
        more = f", … ({len(values)} in all)" if len(values) > MOST_VALUES else ""
        base = "" if path not in record.base else value_words(record.base[path])
        code = Markup("<code>{}</code>").format(path)
        name = code if short(path) == path else Markup("{} {}").format(short(path), code)
        lines.append([name, shown + more, base])
    table = stacked_table(["setting", "values", "base"], lines, words=3)
    return f"<section><h2>What differs</h2>{table}</section>"


def numbers_section(results: Sequence[Result]) -> str:
    """Show accuracy and ECE, a line a combination of settings, mean over seeds."""
    factors = factors_of([without_seed(result.settings) for result in results])
    cells = [cell for result in results for cell in result.cells]
    parts = []
    for role in dict.fromkeys(cell.role for cell in cells):
        own = [cell for cell in cells if cell.role == role]
        parts.append(f"<h3>Networks trained on: {escape(_role_words(own))}</h3>")
        parts.append(_numbers_table(results, own, factors))
    return (
        f"<section><h2>The numbers</h2>{''.join(parts)}"
        '<p class="caption">Percent. Mean over seeds, ± half the 95 % interval by Student\'s t '
        "where there are several; the lowest ECE and the highest accuracy of a column are bold. "
        "comparison.csv has every network.</p></section>"
    )


def _role_words(cells: Sequence[Cell]) -> str:
    labels = list(
        dict.fromkeys(cell.row.training_set_label for cell in cells if cell.row is not None)
    )
    return labels[0] if len(labels) == 1 else f"{cells[0].role} images"


def _numbers_table(
    results: Sequence[Result], cells: Sequence[Cell], factors: Sequence[Factor]
) -> str:
    lines: dict[object, list[Sample]] = {}
    for sample in samples_of(results, cells):
        lines.setdefault(sample.key, []).append(sample)
    calibrations = list(dict.fromkeys(cell.calibration for cell in cells))
    calibrations.sort(key=lambda name: name != AS_TRAINED)
    columns = [("accuracy", AS_TRAINED), *(("ece", name) for name in calibrations)]
    found = [
        [_estimate(samples, metric, calibration) for metric, calibration in columns]
        for samples in lines.values()
    ]
    best = [
        _best([line[k] for line in found], is_lowest=metric == "ece")
        for k, (metric, _) in enumerate(columns)
    ]
    body = [
        _line(samples[0], numbers, best, factors)
        for samples, numbers in list(zip(lines.values(), found, strict=True))[:MOST_LINES]
    ]
    if factors and len(found) > 1 and found == found[:1] * len(found):
        # Such as random images, which no setting of the distillation changes.
        body = [["any"] * len(factors) + body[0][len(factors) :]]
    head = [
        *(short(one.paths[0]) for one in factors),
        "seeds" if _has_seeds(lines) else "networks",
        "accuracy",
        *(f"ECE {name}" for name in calibrations),
    ]
    left_out = len(lines) - MOST_LINES
    note = f'<p class="foot">{left_out} more in comparison.csv.</p>' if left_out > 0 else ""
    table = stacked_table(head, body, words=len(factors))
    return f'<div class="named">{table}</div>{note}'


def _has_seeds(lines: Mapping[object, Sequence[Sample]]) -> bool:
    return next(iter(lines.values()))[0].unit == "seed"


Number = tuple[float, float | None, int] | None
"""Mean, half the interval, count."""


def _estimate(samples: Sequence[Sample], metric: str, calibration: str) -> Number:
    values = [
        value
        for sample in samples
        if sample.calibration == calibration
        for value in sample.values(metric).values()
    ]
    if not values:
        return None
    found = estimate(values)
    half = None if found.interval is None else (found.interval[1] - found.interval[0]) / 2
    return found.mean, half, found.n


def _best(numbers: Sequence[Number], *, is_lowest: bool) -> float | None:
    means = [one[0] for one in numbers if one is not None]
    if len(means) < 2:
        return None
    return min(means) if is_lowest else max(means)


def _line(
    sample: Sample,
    numbers: Sequence[Number],
    best: Sequence[float | None],
    factors: Sequence[Factor],
) -> list[str]:
    cells = [value_words(sample.settings.get(one.paths[0])) for one in factors]
    cells.append(str(next((one[2] for one in numbers if one is not None), 0)))
    for one, top in zip(numbers, best, strict=True):
        if one is None:
            cells.append("")
            continue
        mean, half, _ = one
        spread = "" if half is None else f' <span class="dev">± {100 * half:.1f}</span>'
        number = f"{100 * mean:.2f}"
        cells.append(safe((f"<b>{number}</b>" if mean == top else number) + spread))
    return cells


def result_section(record: ComparisonRecord) -> str:
    """List every result with its id, and those that have none with how they ended."""
    rows: dict[int, float] = {}
    for row in record.rows:
        if row.calibration == AS_TRAINED:
            rows.setdefault(row.result, row.ece.mean)
    lines = []
    for place, one in enumerate(record.results[:MOST_LINES]):
        settings = [value_words(one.settings.get(path)) for path in record.varied]
        ece = f"{100 * rows[place]:.2f}" if place in rows else ""
        end = "" if one.state is None else f"{one.state}: {one.message or 'no message'}"
        told = Markup("<code>{}</code>").format(one.report_id or one.job_id)
        lines.append([told, *settings, ece, end])
    head = ["report, or job", *map(short, record.varied), "ECE as trained", "no report"]
    if not record.n_missing:
        head, lines = head[:-1], [line[:-1] for line in lines]
    left_out = len(record.results) - MOST_LINES
    note = f'<p class="foot">{left_out} more in comparison.json.</p>' if left_out > 0 else ""
    table = stacked_table(head, lines, words=1 + len(record.varied))
    return (
        "<section><h2>Where each number comes from</h2><details><summary>Every result"
        f"</summary>{table}{note}</details></section>"
    )
