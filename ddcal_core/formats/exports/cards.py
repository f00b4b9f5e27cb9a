"""Cards: a README.md with metadata, as Hugging Face has them, of a set or a network.

A card says how it was made, what it is good for and what not, which licence its source was declared
to have, and what reports have found of its calibration. It names no time and no machine.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ddcal_core.formats.exports.evidence import Interval, Measured

NOT_DECLARED = "not declared"
Facts = Sequence[tuple[str, object]]
Sections = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What whoever uploaded a data set has said of it, as tags `licence` and `source`.

    Attributes:
        licence: under which its images are.
        source: where they are from.
    """

    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card, before it is written.

    Attributes:
        title: of the whole.
        summary: a paragraph.
        metadata: for programs, beside the licence and the tags.
        facts: how it was made: a word, and what goes with it.
        sections: title and text of those between how it was made and the licence.
        measured: what reports have found.
        declared: of the data set.
    """

    title: str
    summary: str
    metadata: Mapping[str, Any]
    facts: Facts
    sections: Sections
    measured: Sequence[Measured]
    declared: Declared
    tags: Sequence[str] = field(default=())

    def text(self) -> str:
        """The card as Markdown, UTF-8."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield "---"
        yield from _yaml({**self._licence(), **self.metadata, "tags": [*self.tags, "ddcal"]})
        yield from ("---", "", f"# {_plain(self.title)}", "", self.summary, "")
        yield from ("## How it was made", "", "| | |", "|---|---|")
        for word, value in self.facts:
            if value is not None:
                yield f"| {word} | {_plain(value)} |"
        yield from ("", f"Written by ddcal {version('ddcal')}.", "")
        for title, text in self.sections:
            yield from (f"## {title}", "", text, "")
        yield from ("## Calibration", "", *calibration_lines(self.measured), "")
        yield from ("## Licence of the source", "", *self._licence_lines(), "")

    def _licence(self) -> dict[str, Any]:
        if self.declared.licence is None:
            return {"license": "unknown"}
        return {"license": "other", "license_name": self.declared.licence}

    def _licence_lines(self) -> Iterator[str]:
        yield f"Of the images it was made from: {_plain(self.declared.licence or NOT_DECLARED)}."
        yield f"Where they are from: {_plain(self.declared.source or NOT_DECLARED)}."
        if self.declared.licence is None:
            yield (
                "Ask who published them before you pass on what was made from them. (The tags "
                "`licence` and `source` of an uploaded data set stand here.)"
            )


def write_card(path: Path, card: Card) -> None:
    """Write a card by itself."""
    path.write_text(card.text(), encoding="utf-8")


def calibration_lines(measured: Sequence[Measured]) -> Iterator[str]:
    """What reports have found, as a table; without any, that there is nothing yet."""
    if not measured:
        yield (
            "No report has measured it yet: nothing is known of its confidence. Networks trained "
            "on few synthetic images are often badly calibrated; calibrate and evaluate first."
        )
        return
    yield (
        "Expected calibration error (ECE) on test images, in percent, before (T = 1) and after "
        "calibration, each with the 95 % interval for all images of this kind; 0 is perfect."
    )
    yield ""
    yield (
        "| Trained on | Network | Calibration | Accuracy | ECE before | ECE after | Test images "
        "| Report |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for one in measured:
        cells = (
            one.trained_on,
            "" if one.seed_index is None else f"seed {one.seed_index}",
            one.calibration,
            f"{100 * one.accuracy:.2f}",
            _error(one.ece_before, one.interval_before),
            _error(one.ece_after, one.interval_after),
            f"{one.n_test:,} ({one.n_bins} bins)",
            one.report_id,
        )
        yield f"| {' | '.join(map(_plain, cells))} |"


def _error(ece: float, interval: Interval) -> str:
    if interval is None:
        return f"{100 * ece:.2f}"
    low, high = interval
    return f"{100 * ece:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _plain(value: object) -> str:
    """Text that Markdown shows as it is, in one line of a table."""
    words = " ".join(str(value).replace("\u202f", " ").split())
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#" else one for one in words)


def _yaml(fields: Mapping[str, Any]) -> Iterator[str]:
    """YAML of a mapping: each value as JSON, which YAML reads."""
    for name, value in fields.items():
        yield f"{name}: {json.dumps(value, ensure_ascii=False)}"
