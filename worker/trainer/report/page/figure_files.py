"""The page's figures as files of their own: SVG that needs no style sheet beside it, and PNG."""

import io
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path

import resvg_py
from PIL import ImageFont

from ddcal_core.formats.exports.archives import write_zip
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.page import STYLE_FILE, report_page

_FIGURE = re.compile(r"<figure>.*?(<svg .*?</svg>)</figure>", re.DOTALL)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_COLOUR = re.compile(r"(--[a-z]+): ([^;]+);")
# What of a rule a drawing can have.
_DRAWN = re.compile(r"(?:paint-order|fill|stroke|opacity|font-size)")
_PNG_FONT, _FONT_SIZE, _PNG_ZOOM = "Aileron", 12, 3
_FONT = "font-family: system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;"


def write_figures(path: Path, report: Report) -> None:
    """Write a zip of the page's figures in light colours, each as NAME.svg and NAME.png."""
    with tempfile.NamedTemporaryFile(suffix=".ttf", dir=path.parent) as font:
        # A machine without fonts draws the same.
        font.write(_font())
        font.flush()
        write_zip(path, _members(report, font.name))


def _members(report: Report, font_file: str) -> Iterator[tuple[str, bytes]]:
    for name, svg in drawings(report):
        yield f"{name}.svg", svg.encode()
        yield f"{name}.png", _png(svg, font_file)


def _png(svg: str, font_file: str) -> bytes:
    drawn: bytes = resvg_py.svg_to_bytes(
        svg_string=svg,
        zoom=_PNG_ZOOM,
        skip_system_fonts=True,
        font_files=[font_file],
        sans_serif_family=_PNG_FONT,
        font_family=_PNG_FONT,
    )
    return drawn


def _font() -> bytes:
    """Give the font that comes with Pillow."""
    held = ImageFont.load_default(_FONT_SIZE)
    assert isinstance(held, ImageFont.FreeTypeFont)
    assert isinstance(held.path, io.BytesIO)
    return held.path.getvalue()


def drawings(report: Report) -> Iterator[tuple[str, str]]:
    """Give each figure's name, by its place and title, and its SVG."""
    page = report_page(report, ())
    for place, svg in enumerate(_FIGURE.findall(page), start=1):
        title = _TITLE.search(svg)
        words = unescape(title[1]) if title else "figure"
        slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:80].rstrip("-")
        yield f"{place:02}-{slug}", _by_itself(svg)


def _by_itself(svg: str) -> str:
    size = _SIZE.search(svg)
    assert size is not None, "figures.drawing gives every figure a view box"
    width, height = size[1], size[2]
    head, _, rest = svg.partition(">")
    paper = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    sizes = f'xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
    return f"{head} {sizes}><style>{_style()}</style>{paper}{rest}\n"


@cache
def _style() -> str:
    """Give the rules of the page's style sheet that draw, its light colours put in."""
    sheet = STYLE_FILE.read_text(encoding="utf-8")
    light, _, rest = sheet.partition("@media")
    colours = dict(_COLOUR.findall(light))
    rules = [
        f"{selector.strip()} {{{body.strip()}}}"
        for selector, body in _RULE.findall(rest)
        if _DRAWN.match(body.strip()) and "var(--pill)" not in body
    ]
    text = f"svg {{{_FONT}}} " + " ".join(rules)
    return re.sub(r"var\((--[a-z]+)\)", lambda used: colours[used[1]], text)
