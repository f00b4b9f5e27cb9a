"""The report page's section on logits under masks."""

from collections.abc import Sequence
from html import escape

from ddcal_core.formats.report_analyses import MaskedLogitCurve, MaskedLogitPoint
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.templates import stacked_table
from worker.trainer.report.row_words import percent


def masked_logit_section(report: Report) -> str:
    """Show size and variety of the largest logits over the share masked, set below set."""
    curves = report.masked_logits
    if not curves:
        return ""
    head = ["training set", "masked", "largest logit", "deviation", "variation", "over masks"]
    rows = [
        _line(curve.training_set_label, point) for curve in curves for point in _few_points(curve)
    ]
    said = "".join(f"<li>{escape(curve.words)}</li>" for curve in curves)
    return (
        "<section><h2>What do masks do to the logits?</h2>"
        f'<ul class="said">{said}</ul>{stacked_table(head, rows)}'
        '<p class="caption">Largest logit of real validation images under '
        f"{curves[0].n_draws} random masks each, as trained (T = 1), mean over networks: its mean "
        "and deviation over images and masks, variation (deviation over mean, which does not "
        "change when all logits are scaled), and the deviation of one image from mask to mask. "
        "report.json has every ratio. The paper says that masks make the logits smaller and more "
        "varied, and that this is why MTS calibrates.</p></section>"
    )


def _few_points(curve: MaskedLogitCurve) -> Sequence[MaskedLogitPoint]:
    """The least masked, one in the middle, the most masked."""
    places = sorted({0, len(curve.points) // 2, len(curve.points) - 1})
    return [curve.points[place] for place in places]


def _line(label: str, point: MaskedLogitPoint) -> list[str]:
    mean, deviation = point.largest_logit.mean, point.deviation.mean
    return [
        label,
        percent(point.ratio, 0),
        f"{mean:.3g}".replace("-", "−"),
        f"{deviation:.2g}",
        f"{deviation / mean:.2f}" if mean > 0 else "none",
        f"{point.over_masks.mean:.2g}",
    ]
