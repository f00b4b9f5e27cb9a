"""What MkDocs calls while it builds the site: pages from the code, pages from the root, links."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from documentation.links import DOCS, FROM_THE_ROOT, ROOT, site_markdown
from documentation.reference import PAGES


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for place, write in PAGES.items():
        files.append(File.generated(config, place, content=write()))
    for name, place in FROM_THE_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links those of the site."""
    del config, files
    place = page.file.src_uri
    from_root = {there: name for name, there in FROM_THE_ROOT.items()}
    if place in from_root:
        return site_markdown(markdown, ROOT / from_root[place], place)
    return site_markdown(markdown, Path(DOCS) / place, place)
