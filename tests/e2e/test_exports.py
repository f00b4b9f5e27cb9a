"""Results in every format, through the whole service, read by the lines given for each."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.shared.store.kinds import RESOURCES
from ddcal.client import Client
from ddcal_core.specs.exports import FORMATS
from tests.services import SHORT_PIPELINE

# torchvision's wheel does not load beside a torch for the CPU alone, unless this comes first.
FIRST = "from ddcal_core.data import torchvision_readers as _\n"
OFFLINE = {"HF_HUB_OFFLINE": "1"}
EXPERTS = {"n_experts": 1, "epochs": 1, "width": 4, "depth": 1, "images_per_epoch": 20}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(service) -> dict[str, str]:
    """One of each result that has formats: ids by resource."""
    with Client(service.url) as client:
        job = client.submit(SHORT_PIPELINE["kind"], **SHORT_PIPELINE["params"], reuse=False)
        job.wait(timeout=900)
        experts = client.submit("experts", dataset="digits", experts=EXPERTS)
        experts.wait(timeout=300)
        calibrations = [one.id for one in job.results if one.record.resource == "calibration"]
        again = client.submit("evaluate", calibrations=calibrations, seed=1).wait(timeout=300)
        compared = client.compare([job.id, again.id]).wait(timeout=300)
        # Of several calibrations the last, which has found something.
        made = [*job.results, *experts.results, *compared.results]
        found = {result.record.resource: result.record.id for result in made}
    # All begun at once: each test then waits for its own.
    for resource, formats in FORMATS.items():
        for word in formats:
            ask(service, found, resource, word, seconds=0)
    return found


def ask(service, results, resource, word, *, seconds) -> httpx.Response:
    """Ask for a format, and wait so long for it."""
    url = f"{service.url}/v1/{RESOURCES[resource].collection}/{results[resource]}/content"
    headers = {"Prefer": f"wait={seconds}"}
    return httpx.get(url, params={"format": word}, headers=headers, timeout=90)


@pytest.mark.parametrize(
    ("resource", "word"), [(one, word) for one, formats in FORMATS.items() for word in formats]
)
def test_each_format_is_read_by_the_lines_given_for_it(service, results, tmp_path, resource, word):
    """As they stand, in a folder that has the file alone."""
    facts = FORMATS[resource][word]
    answer = ask(service, results, resource, word, seconds=60)
    while answer.status_code == 202:
        answer = ask(service, results, resource, word, seconds=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == facts.media_type
    (tmp_path / facts.file_name).write_bytes(answer.content)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST + facts.use],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **OFFLINE},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout
