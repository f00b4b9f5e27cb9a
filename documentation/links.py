"""Links of Markdown pages as the site needs them.

Pages in docs/ are read on GitHub as well, where links lead anywhere in the repository. The site
holds docs/ and a few pages from the root: a link to what it does not hold becomes its words.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FROM_THE_ROOT: Mapping[str, str] = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "README.md": "index.md",
    "examples/README.md": "examples.md",
}
"""Pages of the root that the site holds, and where."""
_LINK = re.compile(
    r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)"
)


def site_markdown(markdown: str, source: Path, place: str) -> str:
    """Give a page as the site builds it.

    Args:
        markdown: of the page.
        source: where it lies in the repository.
        place: where it lies on the site, such as "decisions/README.md".
    """

    def replaced(found: re.Match[str]) -> str:
        mark, words, target, anchor = found.groups()
        there = _place_of((source.parent / target).resolve())
        if there is None:
            return words
        relative = os.path.relpath(there, Path(place).parent)
        return f"{mark}[{words}]({relative}{anchor or ''})"

    # Links whose words are code are links, too: only what no link holds is left alone.
    pieces = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    pieces[::2] = [_LINK.sub(replaced, piece) for piece in pieces[::2]]
    return "".join(pieces).replace("<details>", '<details markdown="1">')


def _place_of(path: Path) -> str | None:
    if not path.is_relative_to(ROOT):
        return None
    within = path.relative_to(ROOT).as_posix()
    if within in FROM_THE_ROOT:
        return FROM_THE_ROOT[within]
    if path == DOCS:
        return "index.md"
    if not path.is_relative_to(DOCS):
        return None
    if path.is_dir():
        page = path / "README.md"
        return page.relative_to(DOCS).as_posix() if page.exists() else None
    return path.relative_to(DOCS).as_posix()
