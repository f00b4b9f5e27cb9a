"""The report page's section on HLR and IOR."""

from ddcal_core.formats.report_analyses import AccuracyDifference
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.templates import stacked_table
from worker.trainer.report.row_words import percent


def ranking_section(report: Report) -> str:
    """Show what each distilled set lacks against all images, and adds to random ones."""
    if not report.ranking:
        return ""
    head = ["training set", "beside", "measure", "difference"]
    rows = [
        [one.training_set_label, difference.beside, name, _shown(difference)]
        for one in report.ranking
        for name, difference in (
            ("HLR", one.hard_label_recovery),
            ("IOR", one.improvement_over_random),
        )
        if difference is not None
    ]
    return (
        "<section><h2>Against all images, and against random ones</h2>"
        f"{stacked_table(head, rows, words=3)}"
        '<p class="caption">In accuracy, as trained, by the names of DD-Ranking. HLR: what '
        "networks on the full data have more; the lower the better. IOR: what networks on as many "
        "random real images have less; the higher the better. ± is of the difference between two "
        "single networks.</p></section>"
    )


def _shown(difference: AccuracyDifference) -> str:
    deviation = "" if difference.deviation is None else f" ± {percent(difference.deviation)}"
    return f"{percent(difference.mean)}{deviation}"
