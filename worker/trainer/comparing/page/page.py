"""comparison.json's numbers -> one self-contained page: no scripts, no links, all text escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ddcal_core.formats.comparisons import ComparisonRecord, Verdict
from worker.trainer.comparing.cells import Result
from worker.trainer.comparing.page.analyses import logit_section, spectrum_section
from worker.trainer.comparing.page.sections import (
    difference_section,
    heat_section,
    series_section,
)
from worker.trainer.comparing.page.tables import (
    differing_section,
    numbers_section,
    result_section,
)
from worker.trainer.comparing.words import FEW_SEEDS
from worker.trainer.report.page.page import STYLE_FILE as REPORT_STYLE

STYLE_FILE = Path(__file__).with_name("comparison.css")


def comparison_page(record: ComparisonRecord, results: Sequence[Result]) -> str:
    """Write the page.

    Args:
        record: what comparison.json holds.
        results: that have a report; some with the analyses of their logits and sets.

    Returns:
        A whole HTML document that needs nothing from elsewhere.
    """
    title = f"Comparison: {record.dataset or 'several data sets'}"
    sections = [
        _header(record),
        differing_section(record),
        numbers_section(results),
        _rules_section(record.decided),
        series_section(record.series),
        heat_section(record.heat_maps),
        difference_section(record.differences),
        logit_section(results),
        spectrum_section(results),
        result_section(record),
        _method_section(record),
    ]
    style = "".join(file.read_text(encoding="utf-8") for file in (REPORT_STYLE, STYLE_FILE))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _header(record: ComparisonRecord) -> str:
    first, *others = record.findings
    # The verdicts have a section of their own.
    said = {f"{one.rule.statement} {one.words}" for one in record.decided}
    leads = [sentence for sentence in others if sentence not in said]
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in _facts(record).items()
    )
    lead = "".join(f'<p class="lead">{escape(sentence)}</p>' for sentence in leads)
    return (
        f'<header><p class="kicker">Comparison · {escape(record.dataset or "several data sets")}'
        f'</p><h1>{escape(first)}</h1>{lead}<dl class="facts">{cells}</dl></header>'
    )


def _facts(record: ComparisonRecord) -> dict[str, str]:
    made = [one for one in record.results if one.report_id is not None]
    n_test = sorted({one.n_test for one in made if one.n_test is not None})
    seeds = record.varied.get("seed", ())
    facts = {
        "results": str(len(made)),
        "settings that differ": str(len(record.varied)),
        "seeds": str(len(seeds)) if seeds else "1",
        "test images": " or ".join(f"{n:,}" for n in n_test),
    }
    return facts | ({"without a report": str(record.n_missing)} if record.n_missing else {})


def _rules_section(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    items = "".join(
        f'<li>{escape(one.rule.statement)} <span class="outcome {one.outcome}">{one.outcome}</span>'
        f"<br>{escape(_without_outcome(one))}</li>"
        for one in verdicts
    )
    return (
        f'<section><h2>What the rules come to</h2><ol class="rules">{items}</ol>'
        '<p class="caption">A rule is fixed before the results are seen, or it decides nothing. It '
        "is confirmed or refuted by whole intervals of paired differences over seeds, at a level "
        "raised where one of several comparisons would be enough (Bonferroni), and open with fewer "
        "seeds than it demands. comparison.json has all comparisons.</p></section>"
    )


def _without_outcome(one: Verdict) -> str:
    words = one.words.removeprefix(one.outcome.capitalize()).lstrip(".: ")
    return words[:1].upper() + words[1:]


def _method_section(record: ComparisonRecord) -> str:
    about = {**_CONVENTIONS, **(_OF_HEAT_MAPS if record.heat_maps else {})}
    told = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in about.items()
    )
    return f'<section><h2>How it was computed</h2><dl class="about">{told}</dl></section>'


_CONVENTIONS: Mapping[str, str] = {
    "One value": "The mean over the networks of one seed of the pipeline, which makes a set of its "
    "own. Where all results are of one seed, a network: networks of one set tell nothing of other "
    "sets.",
    "Pairs": "Results that agree in all settings but those named, pair by pair of equal seed. Data "
    "sets are not paired: their test images differ.",
    "Intervals": "95 %, Student's t over seeds, of differences the paired one. They take the "
    f"differences for normally distributed, which {FEW_SEEDS} seeds and fewer cannot show. One "
    "value has none, and is no difference.",
    "Best value": "Of the means over the seeds that all values have. Its interval: 2,000 "
    "bootstrap draws of seeds, the same for all values, and where the best of 95 % of them lie. "
    "It was picked on the test images, which flatters it.",
    "Begins to fall": "The smallest value above the base's at which the interval of the paired "
    "difference in accuracy lies below 0. Of several values one may do so by chance.",
    "ECE": "As the reports have it: equal-width bins, confidence of the predicted class, test "
    "images. As trained: T = 1.",
}
_OF_HEAT_MAPS: Mapping[str, str] = {
    "MDT and MTS": "ECE of networks trained on each set after temperature scaling on the same set, "
    "masked by each ratio of the reports' curves.",
}
