"""The page's templates: what is put into them is escaped, unless it is markup of our own."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ddcal_core.formats.report_rows import Verdict
from worker.trainer.report.row_words import percent

FOLDER = Path(__file__).parent
PILLS: Mapping[Verdict, str] = {"over-confident": "over", "under-confident": "under"}
"""The class of a verdict that has a colour of its own."""

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def anchor(word: str) -> str:
    """Give the id under which the page defines a word."""
    return "word-" + re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")


_ENVIRONMENT.filters["percent"] = percent
_ENVIRONMENT.filters["anchor"] = anchor


def render(name: str, **values: object) -> Markup:
    """Fill a template.

    Args:
        name: of a file in this folder.
        values: text, which is escaped, or Markup, which is not.
    """
    return safe(_ENVIRONMENT.get_template(name).render(values))


def safe(markup: str) -> Markup:
    """Take markup over as it is: its writer has escaped the words in it."""
    return Markup(markup)  # noqa: S704


def stacked_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> Markup:
    """Draw a table that becomes a list of labelled values where it would be too wide.

    Args:
        head: of each column.
        rows: cells; text is escaped, Markup is not.
        words: so many first columns hold words, the others numbers.
    """
    return render("stacked_table.html", head=head, rows=rows, words=words)


def term_links(words: Mapping[str, str]) -> Callable[[str, str], str]:
    """Give a function of a defined word and the text to show for it: a link to its meaning.

    Args:
        words: the meaning of each, which the link shows where it is pointed at.
    """

    def link(word: str, shown: str) -> str:
        if word not in words:
            return shown
        markup = Markup('<a class="term" href="#{}" title="{}">{}</a>')
        return markup.format(anchor(word), words[word], shown)

    return link
