"""report.json's numbers -> one self-contained page: no scripts, no links, every text escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ddcal_core.formats.report_rows import OpenSummary, Row, Summary, Verdict
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.analysis_sections import (
    comparison_section,
    logit_section,
    spectrum_section,
)
from worker.trainer.report.page.captions import caption
from worker.trainer.report.page.curve_section import curve_section
from worker.trainer.report.page.figures import (
    ece_spark,
    nice_ceiling,
    pool_bins,
    reliability_diagram,
)
from worker.trainer.report.page.further_measures import further_section
from worker.trainer.report.page.notes import lineage_section, method_section, network_section
from worker.trainer.report.page.pictures import SetPicture
from worker.trainer.report.page.plain_words import words_section
from worker.trainer.report.row_words import (
    FAILURE_WORDS,
    STATUS_WORDS,
    is_fitted,
    percent,
    temperature_words,
)

MAX_DIAGRAMS_PER_SET = 9

STYLE_FILE = Path(__file__).with_name("page.css")
_PILLS: Mapping[Verdict, str] = {"over-confident": "over", "under-confident": "under"}


def report_page(report: Report, pictures: Sequence[SetPicture]) -> str:
    """Write the page.

    Args:
        report: what its report.json holds.
        pictures: of the distilled sets.

    Returns:
        A whole HTML document that needs nothing from elsewhere.
    """
    title = f"Calibration report: {report.dataset}"
    sections = [
        _header(report),
        words_section(report),
        _table_section(report),
        comparison_section(report),
        _reliability_section(report),
        curve_section(report),
        logit_section(report),
        spectrum_section(report),
        _picture_section(pictures),
        method_section(report),
        further_section(report.rows),
        network_section(report.rows),
        lineage_section(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE_FILE.read_text(encoding='utf-8')}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _header(report: Report) -> str:
    first, *others = report.findings
    # A report on something other than images of our own brings its figures along.
    facts = report.facts or _image_facts(report)
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    lead = "".join(f'<p class="lead">{escape(sentence)}</p>' for sentence in others)
    return (
        f'<header><p class="kicker">Calibration report · {escape(report.dataset)}</p>'
        f'<h1>{escape(first)}</h1>{lead}<dl class="facts">{cells}</dl></header>'
    )


def _image_facts(report: Report) -> dict[str, str]:
    assert report.image_shape is not None
    sets = report.training_sets
    channels, height, width = report.image_shape
    networks = sorted({len(training_set.model_ids) for training_set in sets})
    return {
        "test images": f"{report.n_test:,}",
        "classes": f"{len(report.class_names):,}",
        "image": f"{height} × {width}, {'grey' if channels == 1 else 'colour'}",
        "training sets": str(len(sets)),
        "networks on each": " or ".join(map(str, networks)),
        "ECE bins": str(report.n_bins),
    }


def _table_section(report: Report) -> str:
    rows = report.rows
    ends = [max(row.before.ece.mean, row.ece.mean + (row.ece.std or 0.0)) for row in rows]
    # A little more, so that no dot sits on the edge.
    top = nice_ceiling(max(ends) * 1.02)
    head = "".join(
        f'<th class="{class_}">{name}</th>'
        for name, class_ in (
            ("calibration", ""),
            ("ECE, %", ""),
            (f"ECE, 0 to {percent(top, 0)}", "words"),
            ("the network is", "words"),
            ("signed gap, %", ""),
            ("accuracy, %", ""),
            ("temperature", ""),
            ("chance level, %", ""),
            ("NLL", ""),
            ("Brier", ""),
        )
    )
    body = []
    for index in dict.fromkeys(row.training_set_index for row in rows):
        own = [row for row in rows if row.training_set_index == index]
        label = escape(own[0].training_set_label)
        lines = "".join(_table_row(row, top) for row in own)
        body.append(f'<tbody><tr class="set"><th colspan="10">{label}</th></tr>{lines}</tbody>')
    return (
        "<section><h2>What calibration made of it</h2>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{"".join(body)}</table></div>'
        f"{caption(report, 'table')}{_status_notes(rows)}</section>"
    )


def _status_notes(rows: Sequence[Row]) -> str:
    statuses = {status for row in rows for status in (row.status, *row.statuses)} - {"ok"}
    failures = {name for row in rows for name in row.failures}
    notes = [
        f"<li><b>{escape(name.replace('_', ' '))}</b>: {escape(words)}</li>"
        for name, words in (*STATUS_WORDS.items(), *_failure_notes().items())
        if name in statuses | failures
    ]
    return f'<ul class="foot">{"".join(notes)}</ul>' if notes else ""


def _failure_notes() -> dict[str, str]:
    """Give the words of each failure without its name, which stands before them."""
    said = {name: words.partition(": ")[2] for name, words in FAILURE_WORDS.items()}
    return {name: words[0].upper() + words[1:] for name, words in said.items()}


def _table_row(row: Row, top: float) -> str:
    chance = f"{_hundredths(row.null_mean.mean)} / {_hundredths(row.null_p95.mean)}"
    pill = (
        f'<span class="pill {_PILLS.get(row.verdict, "")}" title="{escape(row.words)}">'
        f"{escape(row.verdict)}</span>"
        + "".join(
            f' <span class="failure">{escape(name.replace("_", " "))}</span>'
            for name in row.failures
        )
    )
    cells = (
        escape(row.calibration),
        _percent_cell(row.ece),
        ece_spark(row, top=top),
        pill,
        _percent_cell(row.signed_gap, sign=True),
        _percent_cell(row.accuracy),
        _small_deviation(escape(temperature_words(row))),
        chance,
        _number_cell(row.nll),
        f"{row.brier.mean:.3f}",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _small_deviation(words: str) -> str:
    number, plus_minus, deviation = words.partition(" ± ")
    return f'{number} <span class="dev">± {deviation}</span>' if plus_minus else words


def _percent_cell(value: Summary, *, sign: bool = False) -> str:
    plus = "+" if sign and value.mean > 0 else ""
    return f"{plus}{_hundredths(value.mean)}{_deviation(value, 100, 1)}"


def _hundredths(fraction: float) -> str:
    """Write percent without the sign, for columns that have it in their head."""
    return percent(fraction).rstrip("%").rstrip()


def _number_cell(value: OpenSummary) -> str:
    if value.mean is None:
        return "∞"
    return f"{value.mean:.3f}{_deviation(value, 1, 2)}"


def _deviation(value: Summary | OpenSummary, factor: float, digits: int) -> str:
    if value.std is None:
        return ""
    return f' <span class="dev">± {factor * value.std:.{digits}f}</span>'


def _reliability_section(report: Report) -> str:
    rows = report.rows
    parts = [
        "<section><h2>Reliability: is confidence earned?</h2>" + caption(report, "reliability")
    ]
    parts.append(_side_by_side(rows))
    for index, training_set in enumerate(report.training_sets):
        own = [row for row in rows if row.training_set_index == index]
        figures = "".join(_diagram(row) for row in own[:MAX_DIAGRAMS_PER_SET])
        left_out = len(own) - MAX_DIAGRAMS_PER_SET
        note = f'<p class="foot">{left_out} more in report.json.</p>' if left_out > 0 else ""
        parts.append(
            f'<h3>{escape(training_set.label)}</h3><div class="grid">{figures}</div>{note}'
        )
    return "".join(parts) + "</section>"


def _side_by_side(rows: Sequence[Row]) -> str:
    """Show the first training set beside the last, distilled beside full, before and after."""
    last = rows[-1].training_set_index
    if last == 0:
        return ""
    shown = []
    for index in (0, last):
        own = [row for row in rows if row.training_set_index == index]
        fitted = [row for row in own if row.method != "none" and is_fitted(row.status)]
        shown += [own[0], *fitted[:1]]
    figures = "".join(_diagram(row, f"{row.training_set_label}, ") for row in shown)
    return f'<h3>Side by side, before and after</h3><div class="grid">{figures}</div>'


def _diagram(row: Row, prefix: str = "") -> str:
    name = prefix + _diagram_name(row)
    bins = pool_bins([network.bins for network in row.networks])
    title = f"Reliability diagram, {row.training_set_label}, {_diagram_name(row)}"
    gap = row.signed_gap.mean
    numbers = f"ECE {percent(row.ece.mean)} · gap {'+' if gap > 0 else ''}{percent(gap)}"
    return (
        f"<figure><figcaption><b>{escape(name)}</b><span>{escape(numbers)}</span>"
        f"<span>T {escape(temperature_words(row))}</span></figcaption>"
        f"{reliability_diagram(bins, n_networks=row.n_networks, title=title)}</figure>"
    )


def _diagram_name(row: Row) -> str:
    return "before calibration" if row.method == "none" else row.calibration


def _picture_section(pictures: Sequence[SetPicture]) -> str:
    if not pictures:
        return ""
    return (
        "<section><h2>The distilled images</h2>"
        '<p class="caption">Back in pixel space. Learned values may leave the range of real '
        "pixels; they are clipped for these pictures only.</p>"
        f"{''.join(map(_picture, pictures))}</section>"
    )


def _picture(picture: SetPicture) -> str:
    rows = []
    for strip in picture.strips:
        scale = max(1, round(48 / strip.height))
        alt = f"{strip.n_shown} distilled images of class {strip.class_name}"
        rows.append(
            f"<span>{escape(strip.class_name)}</span>"
            f'<img src="{strip.data_url}" alt="{escape(alt)}" '
            f'width="{strip.width * scale}" height="{strip.height * scale}">'
        )
    n_left = picture.n_classes - len(picture.strips)
    notes = [f"{n_left} more classes are not shown." if n_left else ""]
    n_most = max(strip.n_images for strip in picture.strips)
    n_shown = max(strip.n_shown for strip in picture.strips)
    notes.append(f"The first {n_shown} of {n_most} images a class." if n_shown < n_most else "")
    return (
        f'<h3>{escape(picture.label)}</h3><div class="strips">{"".join(rows)}</div>'
        f'<p class="foot">{" ".join(filter(None, notes))}</p>'
    )
