"""What the documents point at is there: links, headings, files and modules that they name."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest

from ddcal_core.specs.calibration import CALIBRATIONS
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.exports import FORMATS
from ddcal_core.specs.information_drop import DROPS
from ddcal_core.specs.networks import NetworkName
from ddcal_core.specs.regularisers import REGULARISERS
from ddcal_core.specs.training import OPTIMISERS

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)
PLACE = re.compile(
    r"`((?:app|worker|ddcal_core|ddcal|migrations|tests|benchmarks|documentation|examples|docs|\.github)/[\w./-]*)(?:::\w+)?`"
)
PLACEHOLDER = re.compile(r"\bNAME\b")
MODULE = re.compile(
    r"python -m ((?:app|worker|ddcal_core|ddcal|tests|benchmarks|documentation)[\w.]*\w)"
)


def documents():
    """Every Markdown file of the project, none of an environment or of a run."""
    packages = ("app", "worker", "ddcal_core", "ddcal", "tests", "benchmarks", "docs", "examples")
    folders = ["", ".github/**/", *(f"{package}/**/" for package in packages)]
    return sorted({path for folder in folders for path in ROOT.glob(f"{folder}*.md")})


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", CODE_BLOCK.sub("", path.read_text()), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links(path):
    """Targets of a page's links that stay within the project."""
    found = LINK.findall(CODE_BLOCK.sub("", path.read_text()))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def broken_links(path, root=ROOT):
    """Those that lead to no file, or to no heading of it."""
    broken = []
    for target in links(path):
        file, _, anchor = target.partition("#")
        place = path.parent / unquote(file) if file else path
        is_there = place.exists() and place.resolve().is_relative_to(root)
        if not is_there or (anchor and anchor not in anchors(place)):
            broken.append(target)
    return broken


def missing_places(path, root=ROOT):
    """Files and folders named in code type, and modules in command lines, that are not there."""
    text = path.read_text()
    modules = [name.replace(".", "/") for name in MODULE.findall(text)]
    places = [place for place in PLACE.findall(text) if not PLACEHOLDER.search(place)]
    return [place for place in places if not (root / place).exists()] + [
        place
        for place in modules
        if not ((root / f"{place}.py").exists() or (root / place / "__main__.py").exists())
    ]


def test_the_documents_are_found():
    """And link to each other."""
    found = documents()
    assert ROOT / "README.md" in found
    assert sum(len(links(path)) for path in found) > 30


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_resolves(path):
    """To a file of the project, and to a heading where it names one."""
    assert broken_links(path) == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_place_named_is_there(path):
    """What has moved, moves in the documents as well; the changes alone tell what was."""
    if path.name != "CHANGELOG.md":
        assert missing_places(path) == []


def test_the_checks_see_what_is_broken(tmp_path):
    """A file, a heading, a place and a module that are not there; what lies outside the project."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading\n[a](page.md#a-heading) [b](gone.md) [c](#no-heading) [d](../outside.md) "
        "[e](https://example.org)\n```\n[f](in-code.md)\n```\n"
        "`app/gone.py` `app/NAME.py` `../app/gone.py` python -m tests.gone\n"
    )
    (tmp_path.parent / "outside.md").touch()
    assert broken_links(page, tmp_path) == ["gone.md", "#no-heading", "../outside.md"]
    assert missing_places(page, tmp_path) == ["app/gone.py", "tests/gone"]


def test_the_readme_is_read_in_one_go():
    """What says more lies in docs/, and the README says where."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("citation-file-format", "CITATION.cff"),
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/feature.yml"),
    ],
)
def test_files_for_machines_fit_their_schemas(schema, path):
    """Those that GitHub reads, and the citation."""
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [checker, "--builtin-schema", f"vendor.{schema}", path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", [*METHODS, *CALIBRATIONS]),
        (
            "docs/requests.md",
            [*METHODS, *CALIBRATIONS, *get_args(NetworkName), *REGULARISERS, *DROPS, *OPTIMISERS],
        ),
        ("docs/formats.md", [word for formats in FORMATS.values() for word in formats]),
        ("docs/backbones.md", METHODS),
    ],
)
def test_every_method_and_calibration_is_documented(page, words):
    """Named in code type, as requests have it."""
    text = (ROOT / page).read_text()
    assert [word for word in words if f"`{word}`" not in text] == []
