"""The report page's table of what else is measured of the same predictions."""

from collections.abc import Sequence
from html import escape

from ddcal_core.formats.report_rows import Row
from worker.trainer.report.row_words import percent

_FURTHER_HEADS = {
    "root_mean_square_calibration_error": "root mean square",
    "maximum_calibration_error": "maximum",
    "adaptive_calibration_error": "adaptive",
    "classwise_calibration_error": "classwise",
    "debiased_calibration_error": "debiased",
    "smooth_calibration_error": "smooth",
    "area_under_risk_coverage": "AURC",
}


def further_section(rows: Sequence[Row]) -> str:
    """Show what else the literature measures of the same predictions."""
    if not any(row.further for row in rows):
        return ""
    head = "".join(f"<th>{name}, %</th>" for name in _FURTHER_HEADS.values())
    body = "".join(_further_row(row) for row in rows)
    return (
        "<section><h2>Other measures</h2><details><summary>Other calibration errors, and how well "
        "confidence tells right from wrong</summary>"
        '<div class="scroll"><table class="numbers"><thead><tr><th>training set</th>'
        f"<th>calibration</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        '<p class="caption">Means over networks; the conventions above say what each is; – '
        "where no temperature is best.</p></details></section>"
    )


def _further_row(row: Row) -> str:
    further = row.further
    cells = [
        "–" if further is None else percent(getattr(further, name).mean, 2).rstrip("%").rstrip()
        for name in _FURTHER_HEADS
    ]
    return (
        f"<tr><td>{escape(row.training_set_label)}</td><td>{escape(row.calibration)}</td>"
        + "".join(f'<td class="plain">{cell}</td>' for cell in cells)
        + "</tr>"
    )
