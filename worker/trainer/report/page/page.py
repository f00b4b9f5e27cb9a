"""report.json's numbers -> one self-contained page: no scripts, nothing from elsewhere."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ddcal_core.formats.reports import Report
from worker.trainer.report.page.analysis_sections import (
    comparison_section,
    logit_section,
    spectrum_section,
)
from worker.trainer.report.page.attribution_section import attribution_section
from worker.trainer.report.page.curve_section import curve_section
from worker.trainer.report.page.first_screen import Part, first_screen
from worker.trainer.report.page.further_measures import further_section
from worker.trainer.report.page.masked_logit_section import masked_logit_section
from worker.trainer.report.page.notes import conventions_list, method_section, network_section
from worker.trainer.report.page.origin import Origin
from worker.trainer.report.page.origin_section import origin_section
from worker.trainer.report.page.pictures import SetPicture, picture_section
from worker.trainer.report.page.plain_words import words_section
from worker.trainer.report.page.probe_section import probe_section
from worker.trainer.report.page.ranking_section import ranking_section
from worker.trainer.report.page.reliability_section import reliability_section
from worker.trainer.report.page.table_section import table_section
from worker.trainer.report.page.templates import render, safe

STYLE_FILE = Path(__file__).with_name("page.css")


def report_page(
    report: Report, pictures: Sequence[SetPicture], origin: Origin | None = None
) -> str:
    """Write the page.

    Args:
        report: what its report.json holds.
        pictures: of the distilled sets.
        origin: which job made it, and when; None where it is drawn for its figures alone.

    Returns:
        A whole HTML document that needs nothing from elsewhere.
    """
    parts = [part for part in _parts(report, pictures, origin) if part.content]
    return render(
        "page.html",
        dataset=report.dataset,
        style=safe(STYLE_FILE.read_text(encoding="utf-8")),
        first_screen=first_screen(report, pictures, parts, origin),
        parts=parts,
    )


def _parts(report: Report, pictures: Sequence[SetPicture], origin: Origin | None) -> Iterator[Part]:
    """Give the parts in their order: from what everybody asks to what few look up."""
    meaning = render("meaning.html", findings=report.findings)
    yield Part("table", "The table", table_section(report))
    yield Part("meaning", "What it means", meaning + safe(comparison_section(report)))
    yield Part("reliability", "Reliability", reliability_section(report))
    yield Part("curves", "The mask ratio", safe(curve_section(report)))
    causes = logit_section(report) + masked_logit_section(report) + spectrum_section(report)
    yield Part(
        "causes", "Causes", safe(causes + probe_section(report) + attribution_section(report))
    )
    yield Part("images", "The images", picture_section(pictures))
    yield Part(
        "measures", "Other measures", safe(ranking_section(report) + further_section(report.rows))
    )
    yield Part("networks", "Every network", network_section(report.rows))
    yield Part("method", "How it was computed", method_section(report))
    yield Part("words", "Words and conventions", words_section(report) + conventions_list(report))
    yield Part("origin", "Where it comes from", origin_section(report, origin))
