"""A page of the service as a small PNG, for the README: of real data, in a real Chromium.

    python -m benchmarks.page_picture DATA_FOLDER /explore/REPORT docs/explorer.png --last figure

The folder is one of a service that has run and is stopped; its pages are answered without workers.
"""

import argparse
import tempfile
from pathlib import Path

from app.shared.settings import Settings
from benchmarks.report_picture import save
from tests.api.serving import running_api
from tests.browser.chromium import new_page, running_chromium


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("path")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--last", default="main", help="CSS selector of what is shown last")
    parser.add_argument("--script", default="0", help="run in the page before")
    asked = parser.parse_args()
    url = f"sqlite:///{asked.data_folder.resolve() / 'ddcal.sqlite'}"
    settings = Settings(data_folder=asked.data_folder, database_url=url, no_key=True)
    with (
        running_api(settings) as api,
        tempfile.TemporaryDirectory() as folder,
        running_chromium(Path(folder)) as devtools,
        new_page(devtools) as page,
    ):
        page.open(f"http://127.0.0.1:{api.client.base_url.port}{asked.path}")
        page.evaluate(asked.script)
        save(page, asked.picture, asked.last)
    print(f"{asked.picture}: {asked.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
