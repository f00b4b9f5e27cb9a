"""The report page's section on the mask ratio of MTS."""

from html import escape

from ddcal_core.formats.report_analyses import MtsCurve
from ddcal_core.formats.reports import Report
from worker.trainer.report.mask_words import shape_words
from worker.trainer.report.page.figures import curve_figure, curve_top


def curve_section(report: Report) -> str:
    """Show ECE over the mask ratio, a figure a training set and mask."""
    if not report.mts_curves:
        return ""
    figures = "".join(
        _curve_figures(report, training_set.label) for training_set in report.training_sets
    )
    return (
        "<section><h2>Masked temperature scaling: everything hangs on the ratio</h2>"
        '<p class="caption"><span class="key k-distilled"></span>T fitted on the small set the '
        'networks were trained on, no further real label used; <span class="key k-validation">'
        "</span>T fitted on real validation images. At 0\u202f% masked it is plain temperature "
        "scaling. Line: mean over networks; band: ± one standard deviation. Open circles: some "
        'network had no best temperature, its limit is shown. <span class="swatch chance"></span>'
        "Grey: what chance shows for the uncalibrated networks. Whoever picks the lowest point of "
        f'a curve has used the test labels.</p><div class="grid wide">{figures}</div></section>'
    )


def _curve_figures(report: Report, label: str) -> str:
    """Draw a training set's curves, a figure a mask, all on one axis."""
    own = [curve for curve in report.mts_curves if curve.training_set_label == label]
    if not own:
        return ""
    reference = next(row for row in report.rows if row.training_set_label == label)
    before, chance = reference.ece.mean, reference.null_p95.mean
    # One axis for all masks of a training set: figures side by side are compared by eye.
    top = curve_top(own, before=before, chance=chance)
    by_mask: dict[str, list[MtsCurve]] = {}
    for curve in own:
        by_mask.setdefault(shape_words(curve.mask), []).append(curve)
    return "".join(
        f"<figure><figcaption><b>{escape(label)}</b><span>masked: {escape(masked)}</span>"
        "</figcaption>"
        + curve_figure(
            curves,
            top=top,
            before=before,
            chance=chance,
            title=f"ECE over the share masked, {masked}, {label}",
        )
        + "</figure>"
        for masked, curves in by_mask.items()
    )
