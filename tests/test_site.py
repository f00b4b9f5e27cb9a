"""The documentation site builds without a warning, and what in docs/ comes from the code is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.shared.settings import Settings
from ddcal_core.specs.exports import FORMATS
from documentation.links import site_markdown
from documentation.reference import PAGES, requests_page
from documentation.tables import SETTINGS, TABLES, with_tables

ROOT = Path(__file__).parents[1]


def build(config, folder):
    """The site, built into a folder; not quietly, or no warning would count."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(
        [*command, "--config-file", config, "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    result = build(ROOT / "mkdocs.yml", folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_the_site_has_every_page(site):
    """Of docs/, of the root and of the code; no file of a page comes from elsewhere."""
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    built = [path.with_name("index.html") if path.stem == "README" else path for path in pages]
    places = [*map(str, built), *PAGES, "index.md", "project/changelog.md", "project/security.md"]
    assert [place for place in places if not (site / place).with_suffix(".html").exists()] == []
    fetched = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//')
    assert [page.name for page in site.rglob("*.html") if fetched.search(page.read_text())] == []


def test_the_reference_says_what_the_code_does(site):
    """A command, a method, a problem, a field and a format are found on their pages."""
    for page, words in {
        "command-line": ("ddcal upload-model", "--resize"),
        "python": ("submit", "AsyncClient", "load_set", "JobFailedError"),
        "errors": ("dataset_in_use", "409"),
        "requests": ("images_per_class", "DmSpec"),
        "http-api": ("/v1/jobs/{job_id}/cancel",),
        "metrics": ("SmoothECE", "expected_calibration_error"),
        "formats": tuple(word for formats in FORMATS.values() for word in formats),
    }.items():
        text = (site / f"reference/{page}.html").read_text()
        assert [one for one in words if one not in text] == [], page


def test_a_broken_link_fails_the_build(tmp_path):
    """To a page that is not there, and to a heading that a page does not have."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# A page\n\n[gone](gone.md)\n")
    text = "site_name: s\nstrict: true\nvalidation: {anchors: warn}\n"
    (tmp_path / "mkdocs.yml").write_text(text)
    assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode != 0
    (docs / "index.md").write_text("# A page\n\n[no heading](#gone)\n")
    assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode != 0
    (docs / "index.md").write_text("# A page\n\n[a heading](#a-page)\n")
    assert build(tmp_path / "mkdocs.yml", tmp_path / "site").returncode == 0


@pytest.mark.parametrize("page", TABLES)
def test_tables_in_docs_are_those_of_the_code(page):
    """`python -m documentation.tables` writes them."""
    assert (ROOT / "docs" / page).read_text() == with_tables(page)


def test_every_setting_has_its_place_and_its_words():
    """Under one heading, with a description."""
    placed = [name for names in SETTINGS.values() for name in names]
    assert sorted(placed) == sorted(Settings.model_fields)
    assert [name for name, one in Settings.model_fields.items() if not one.description] == []


def test_links_lead_where_the_site_has_it():
    """Code that the site does not hold becomes words; code blocks stay as they are."""
    page = ROOT / "docs/decisions/0001-row-and-doorbell.md"
    text = (
        "[a](../settings.md#sizes) [b](../../CONTRIBUTING.md) [c](../../tests/servers.py) "
        "[`d`](../../app) [e](https://example.org)\n```\n[f](../settings.md)\n```\n<details>"
    )
    assert site_markdown(text, page, "decisions/0001-row-and-doorbell.md") == (
        "[a](../settings.md#sizes) [b](../project/contributing.md) c `d` [e](https://example.org)\n"
        '```\n[f](../settings.md)\n```\n<details markdown="1">'
    )


def test_requests_name_every_default():
    """A required field, a default, bounds and a link to another schema are said."""
    page = requests_page()
    assert "## PipelineRequest" in page
    assert re.search(r"- `dataset`: string.*, required\.", page)
    assert re.search(r"- `priority`: integer, ≥ -100, ≤ 100, default `0`\.", page)
    assert "[DistillParams](#distillparams)" in page
