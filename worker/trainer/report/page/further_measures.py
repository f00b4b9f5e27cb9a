"""The report page's table of what else is measured of the same predictions."""

from collections.abc import Sequence

from ddcal_core.formats.report_rows import Row
from worker.trainer.report.page.templates import stacked_table
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
    head = ["training set", "calibration", *(f"{name}, %" for name in _FURTHER_HEADS.values())]
    table = stacked_table(head, [_further_row(row) for row in rows], words=2)
    return (
        "<section><h2>Other measures</h2><details><summary>Other calibration errors, and how well "
        f"confidence tells right from wrong</summary>{table}"
        '<p class="caption">Means over networks; the conventions below say what each is; – '
        "where no temperature is best.</p></details></section>"
    )


def _further_row(row: Row) -> tuple[str, ...]:
    further = row.further
    cells = (
        "–" if further is None else percent(getattr(further, name).mean, 2).rstrip("%").rstrip()
        for name in _FURTHER_HEADS
    )
    return (row.training_set_label, row.calibration, *cells)
