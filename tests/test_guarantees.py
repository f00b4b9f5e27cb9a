"""docs/guarantees.md promises nothing without a test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/guarantees.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    """The tests that a file has."""
    return {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}


def promises() -> list[tuple[str, set[str]]]:
    """Each row of the page's tables, in words, with the tests that its last column names."""
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    rows = [row for row in rows if row[-1].strip() not in ("---", "Test")]
    return [
        (
            " | ".join(cell.strip() for cell in cells),
            {"::".join(one) for one in NAMED.findall(last)},
        )
        for *cells, last in rows
    ]


def test_every_test_it_names_is_there():
    """By file and name."""
    named = NAMED.findall(PAGE)
    assert len(named) > 30
    assert [test for file, test in named if test not in names_in(ROOT / file)] == []


def test_every_row_names_a_test():
    """A promise is a row of a table; its last column says what shows it."""
    assert len(promises()) > 30
    assert [row for row, tests in promises() if not tests] == []
