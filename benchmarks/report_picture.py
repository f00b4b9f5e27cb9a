"""The answers a report begins with as a small PNG, for the README: a real page in a real Chromium.

python -m benchmarks.report_picture ddcal-demo/evaluate/report.html docs/report.png
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser.chromium import Page, new_page, running_chromium

WIDTH = 1100
N_COLOURS = 128
LAST = ".glance + .caption"


def take(report: Path, picture: Path) -> None:
    """Write what a report begins with, up to the line below its answers, in few colours.

    Args:
        report: its report.html.
        picture: the PNG to write.

    Raises:
        FileNotFoundError: there is no such report.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        running_chromium(Path(folder)) as devtools,
        new_page(devtools) as page,
    ):
        page.open(report.resolve(strict=True).as_uri())
        save(page, picture, LAST)


def save(page: Page, picture: Path, last: str) -> None:
    """Write what an open page begins with, down to an element, in few colours.

    Args:
        page: in a browser.
        picture: the PNG to write.
        last: CSS selector of that element.
    """
    page.screenshot(picture, width=WIDTH, scheme="light")
    end = page.evaluate(f"document.querySelector({last!r}).getBoundingClientRect().bottom")
    width = page.evaluate("document.documentElement.clientWidth")
    with Image.open(picture) as whole:
        shown = whole.convert("RGB").crop((0, 0, int(width), round(float(end)) + 12))
    shown.quantize(N_COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    take(options.report, options.picture)
    print(f"{options.picture}: {options.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
