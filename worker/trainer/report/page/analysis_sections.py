"""The report page's sections on logits and spectra."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from markupsafe import Markup

from ddcal_core.formats.report_analyses import LogitAnalysis, SpectraBeside, SpectrumAnalysis
from ddcal_core.formats.report_rows import OpenSummary, Summary
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.analysis_figures import (
    SpectrumCurve,
    histogram_figure,
    spectrum_figure,
)
from worker.trainer.report.page.captions import caption
from worker.trainer.report.page.templates import stacked_table

_SPECTRUM_AXES: Mapping[SpectrumCurve, str] = {
    "cumulative_energy": "share of energy so far",
    "relative_values": "singular value / the largest",
}


def comparison_section(report: Report) -> str:
    """Say for each training set which calibration won, and whether by more than noise."""
    if not report.comparisons:
        return ""
    said = "".join(f"<li>{escape(one.words)}</li>" for one in report.comparisons)
    return (
        "<section><h2>Which calibration won, and is it more than noise?</h2>"
        f'<ul class="said">{said}</ul>{caption(report, "comparison")}</section>'
    )


def logit_section(report: Report) -> str:
    """Show largest logits and margins of all training sets on the same axes."""
    analyses = report.logit_analysis
    if not analyses:
        return ""
    largest = {one.training_set_label: one.largest_logit for one in analyses}
    margins = {one.training_set_label: one.margin for one in analyses}
    figures = "".join(
        f"<figure><figcaption><b>{heading}</b></figcaption>"
        f"{histogram_figure(spreads, axis=axis, title=f'{heading}, every training set')}"
        "</figure>"
        for heading, axis, spreads in (
            ("Largest logit", "largest logit of a test image", largest),
            ("Margin", "largest logit minus the second largest", margins),
        )
    )
    return (
        "<section><h2>How concentrated are the logits?</h2>"
        f'<p class="lead">{escape(report.logit_words or "")}</p>'
        f'<div class="grid wide">{figures}</div>{_logit_table(analyses)}'
        '<p class="caption">Logits of all networks of a training set on the test images, as '
        "trained (T = 1), all training sets on one axis; each histogram has its own height. Dot: "
        "median; line: from the 5 % to the 95 % point. Variation is deviation over mean, which "
        "does not change when all logits are scaled; ± one deviation over networks. The paper "
        "names more concentrated largest logits as a cause of over-confidence.</p></section>"
    )


def _logit_table(analyses: Sequence[LogitAnalysis]) -> Markup:
    head = [
        f"{heading}: {word}"
        for heading in ("logit", "margin")
        for word in ("mean", "deviation", "variation")
    ]
    rows = [
        [
            one.training_set_label,
            *(
                _number(value)
                for spread in (one.largest_logit, one.margin)
                for value in (spread.mean, spread.deviation, spread.coefficient_of_variation)
            ),
        ]
        for one in analyses
    ]
    return stacked_table(["training set", *head], rows)


def _number(value: Summary | OpenSummary) -> str:
    if value.mean is None:
        return "none"
    number = f"{value.mean:.3g}".replace("-", "−")
    if value.std is None:
        return number
    return Markup('{} <span class="dev">± {}</span>').format(number, f"{value.std:.2g}")


def spectrum_section(report: Report) -> str:
    """Show each distilled set's spectrum over those of random real sets."""
    if not report.spectrum_analysis:
        return ""
    sets = "".join(_spectra(analysis) for analysis in report.spectrum_analysis)
    return (
        "<section><h2>How rich is the distilled set?</h2>"
        f'<p class="lead">{escape(report.spectrum_words or "")}</p>{sets}'
        '<p class="caption">Singular values of the matrix with one flattened image per row, in '
        'network-input space. <span class="key k-distilled"></span>The distilled set; '
        '<span class="key k-validation"></span>random real training images, as many of each class, '
        "drawn anew several times: mean, and band from the lowest to the highest draw. The sooner "
        "the energy (sum of squares) is reached, the more alike the images. Effective rank: exp of "
        "the entropy of the squared singular values over their sum; as many as that would hold all "
        "energy in equal parts. Roy and Vetterli (2007) take the values themselves: report.json "
        "has both.</p></section>"
    )


def _spectra(analysis: SpectrumAnalysis) -> str:
    label = analysis.training_set_label
    figures = [
        *_spectrum_figures(analysis.as_they_are, "as they are", label),
        *_spectrum_figures(analysis.centred, "about the mean image", label),
    ]
    return (
        f"<h3>{escape(label)}, {analysis.n_images:,} images, beside "
        f'{analysis.n_real_sets} random real sets</h3><div class="grid wide">'
        f"{''.join(figures)}</div>"
    )


def _spectrum_figures(beside: SpectraBeside, words: str, label: str) -> Iterator[str]:
    ranks = (
        f"effective rank {beside.distilled.effective_rank:.1f}, of random real sets "
        f"{beside.real.effective_rank.mean:.1f}"
    )
    for name, axis in _SPECTRUM_AXES.items():
        title = f"{axis}, {words}, {label}"
        yield (
            f"<figure><figcaption><b>Images {words}</b><span>{ranks}</span></figcaption>"
            f"{spectrum_figure(beside, name, axis=axis, title=title)}</figure>"
        )
