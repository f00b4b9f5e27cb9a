"""The first screen: what was distilled, how far off networks are, what calibration makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ddcal_core.formats.report_rows import Row
from ddcal_core.formats.reports import KnownTrainingSet, Report
from worker.trainer.report.findings import best_row, by_what_was_used
from worker.trainer.report.page.captions import is_of_rows
from worker.trainer.report.page.figures import pool_bins, reliability_diagram
from worker.trainer.report.page.origin import Origin
from worker.trainer.report.page.pictures import ClassStrip, SetPicture
from worker.trainer.report.page.templates import PILLS, render, safe
from worker.trainer.report.row_words import (
    UNFITTED_WORDS,
    is_guessing,
    percent,
)

MAX_GLANCED_CLASSES = 10
_GLANCE_SIDE = 24  # of an image on the screen, in pixels


@dataclass(frozen=True)
class Part:
    """A part of the page after its first screen.

    Attributes:
        id: where links of the page lead.
        name: in the list of contents.
        content: its markup.
    """

    id: str
    name: str
    content: Markup


@dataclass(frozen=True)
class Answer:
    """How far off networks are, in one way of calibrating them.

    Attributes:
        heading: what the calibration has seen.
        number: the ECE, in percent.
        verdict: in a word or two.
        tone: class of that word.
        words: which calibration, and what to hold the number against.
        diagram: reliability on test.
    """

    heading: str
    number: str
    verdict: str
    tone: str
    words: str
    diagram: Markup


def first_screen(
    report: Report, pictures: Sequence[SetPicture], parts: Sequence[Part], origin: Origin | None
) -> Markup:
    """Draw it, with the list of what follows.

    Args:
        report: what its report.json holds.
        pictures: of the distilled sets; the first is the one that the first networks learned from.
        parts: what follows.
        origin: which job made the page, and when.
    """
    return render(
        "first_screen.html",
        dataset=report.dataset,
        origin=origin,
        # The headline goes on with numbers, which the answers below it show.
        title=report.headline.partition(": ECE ")[0].rstrip("."),
        picture=_picture(report, pictures),
        answers=_answers([row for row in report.rows if row.training_set_index == 0]),
        note=_note(report),
        # A report on something other than images of our own brings its figures along.
        facts=report.facts or _image_facts(report),
        parts=parts,
    )


def _answers(rows: Sequence[Row]) -> list[Answer]:
    as_it_is, *calibrated = rows
    found = [_answer("As trained", as_it_is)]
    if is_guessing(as_it_is):
        return found
    for used, group in by_what_was_used(calibrated).items():
        best = best_row(group)
        heading = used[0].upper() + used[1:]
        found.append(_not_found(heading, group) if best is None else _answer(heading, best))
    return found


def _answer(heading: str, row: Row) -> Answer:
    chance = f"chance alone reaches {percent(row.null_p95.mean)}"
    return Answer(
        heading=heading,
        number=f"{percent(row.ece.mean)} ECE",
        verdict=row.verdict,
        tone=PILLS.get(row.verdict, ""),
        words=f"{_off_words(row) if row.method == 'none' else row.calibration}; {chance}",
        diagram=_diagram(row, heading),
    )


def _off_words(row: Row) -> str:
    confidence = row.accuracy.mean + row.signed_gap.mean
    return f"confidence {percent(confidence)}, accuracy {percent(row.accuracy.mean)}"


def _not_found(heading: str, rows: Sequence[Row]) -> Answer:
    row = min(rows, key=lambda row: row.ece.mean)
    words = UNFITTED_WORDS[row.status][0] if row.status in UNFITTED_WORDS else "costs accuracy"
    return Answer(
        heading=heading,
        number="none",
        verdict="no calibration",
        tone="",
        words=f"{row.calibration} {words}",
        diagram=_diagram(row, heading),
    )


def _diagram(row: Row, heading: str) -> Markup:
    told = f"ECE {percent(row.ece.mean)}, {_off_words(row)}"
    title = f"Reliability diagram, {row.training_set_label}, {heading.lower()}: {told}"
    bins = pool_bins([network.bins for network in row.networks])
    return safe(reliability_diagram(bins, n_networks=row.n_networks, title=title))


def _note(report: Report) -> str:
    as_it_is, *calibrated = [row for row in report.rows if row.training_set_index == 0]
    on = "rows" if is_of_rows(report) else "test images"
    is_picked = not is_guessing(as_it_is) and any(
        len(group) > 1 for group in by_what_was_used(calibrated).values()
    )
    picked = f" Of several calibrations the one of lowest ECE on these {on} is shown."
    flattered = " They are what the temperature was fitted on, which flatters every number here."
    return (
        "Bars: how often predictions of a confidence are right; on the dashed line the two agree. "
        f"ECE: how far they lie apart on average, over {report.n_test:,} {on}."
        f"{picked if is_picked else ''}{flattered if report.measured_on == 'fit rows' else ''}"
    )


def _picture(report: Report, pictures: Sequence[SetPicture]) -> Mapping[str, object] | None:
    if not pictures:
        return None
    first = pictures[0]
    n_images = sum(strip.n_images for strip in first.strips)
    shown = first.strips[:MAX_GLANCED_CLASSES]
    left_out = (
        f" Shown: {len(shown)} of {first.n_classes:,} classes."
        if len(shown) < first.n_classes
        else ""
    )
    return {
        "strips": [_glanced(strip) for strip in shown],
        "words": f"{_made_words(report, n_images)}{left_out}",
    }


def _glanced(strip: ClassStrip) -> Mapping[str, object]:
    zoom = _GLANCE_SIDE / strip.height
    return {
        "url": strip.data_url,
        "alt": f"{strip.n_shown} distilled images of class {strip.class_name}",
        "width": round(strip.width * zoom),
        "height": _GLANCE_SIDE,
    }


def _made_words(report: Report, n_images: int) -> str:
    sets = [one for one in report.training_sets if isinstance(one, KnownTrainingSet)]
    distilled = next((one.distilled for one in sets if one.distilled is not None), None)
    images = f"{n_images:,} image{'' if n_images == 1 else 's'}"
    if distilled is None or distilled.n_real_images is None:
        return f"{images}."
    return f"{images} in place of {distilled.n_real_images:,}."


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
