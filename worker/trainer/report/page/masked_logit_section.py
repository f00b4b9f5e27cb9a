"""The report page's section on logits under masks."""

from html import escape

from ddcal_core.formats.reports import Report
from worker.trainer.report.page.templates import stacked_table
from worker.trainer.report.row_words import percent


def masked_logit_section(report: Report) -> str:
    """Show size and variety of the largest logits over the share masked, set beside set."""
    curves = report.masked_logits
    if not curves:
        return ""
    head = ["masked", *(curve.training_set_label for curve in curves)]
    rows = [
        [
            percent(point.ratio, 0),
            *(
                f"{one.largest_logit.mean:.3g} ± {one.deviation.mean:.2g}, over masks "
                f"{one.over_masks.mean:.2g}"
                for one in (curve.points[place] for curve in curves)
            ),
        ]
        for place, point in enumerate(curves[0].points)
    ]
    said = "".join(f"<li>{escape(curve.words)}</li>" for curve in curves)
    return (
        "<section><h2>What do masks do to the logits?</h2>"
        f'<ul class="said">{said}</ul>{stacked_table(head, rows)}'
        '<p class="caption">Largest logit of real validation images under '
        f"{curves[0].n_draws} random masks each, as trained (T = 1), mean over networks: mean ± "
        "deviation over images and masks, and the deviation of one image from mask to mask. The "
        "paper says that masks make the logits smaller and more varied, and that this is why MTS "
        "calibrates.</p></section>"
    )
