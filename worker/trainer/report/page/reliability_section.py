"""The page's reliability diagrams: training sets side by side, then every calibration of each."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from ddcal_core.formats.report_rows import Row
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.captions import caption
from worker.trainer.report.page.figures import pool_bins, reliability_diagram
from worker.trainer.report.page.templates import render, safe
from worker.trainer.report.row_words import is_fitted, percent, temperature_words

MAX_DIAGRAMS_PER_SET = 9


def reliability_section(report: Report) -> Markup:
    """Draw a diagram a row, those of a training set together."""
    rows = report.rows
    sets = []
    for index, training_set in enumerate(report.training_sets):
        own = [row for row in rows if row.training_set_index == index]
        figures = [_figure(row) for row in own[:MAX_DIAGRAMS_PER_SET]]
        sets.append((training_set.label, figures, len(own) - MAX_DIAGRAMS_PER_SET))
    return render(
        "diagrams.html",
        caption=safe(caption(report, "reliability")),
        beside=_side_by_side(rows),
        sets=sets,
    )


def _side_by_side(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """Show the first training set beside the last, distilled beside full, before and after."""
    last = rows[-1].training_set_index
    if last == 0:
        return []
    shown = []
    for index in (0, last):
        own = [row for row in rows if row.training_set_index == index]
        fitted = [row for row in own if row.method != "none" and is_fitted(row.status)]
        shown += [own[0], *fitted[:1]]
    return [_figure(row, f"{row.training_set_label}, ") for row in shown]


def _figure(row: Row, prefix: str = "") -> Mapping[str, object]:
    name = "before calibration" if row.method == "none" else row.calibration
    bins = pool_bins([network.bins for network in row.networks])
    title = f"Reliability diagram, {row.training_set_label}, {name}"
    gap = row.signed_gap.mean
    drawing = reliability_diagram(bins, n_networks=row.n_networks, title=title)
    return {
        "name": prefix + name,
        "numbers": f"ECE {percent(row.ece.mean)} · gap {'+' if gap > 0 else ''}{percent(gap)}",
        "temperature": temperature_words(row),
        "drawing": safe(drawing),
    }
