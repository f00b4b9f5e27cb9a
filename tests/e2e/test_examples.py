"""The examples, and the code that README and docs show, run as they stand beside a service.

What makes a job long (images, iterations, epochs) is made small; nothing else is changed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddcal.client import Client
from tests.services import SHORT_PIPELINE, TINY_DISTILL

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SMALL_PARAMS = {**SHORT_PIPELINE["params"], "train": {**SHORT_PIPELINE["params"]["train"]}}


def run_python(*arguments, url, folder):
    """Run Python to its end in a folder, with the service that is meant; gives what it printed."""
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "DDCAL_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def blocks(page, language=""):
    """Those of a Markdown page, in one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    return [code for of, code in found if of == language]


def test_images_of_ones_own_are_distilled_and_trained_on(service, tmp_path):
    """A folder of images goes in; a network of one's own is trained on what came out."""
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets-of-my-own" / name).mkdir(parents=True)
        for k in range(12):
            pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets-of-my-own" / name / f"{k}.png")
    sizes = ("--images-per-class", 1, "--iterations", 2)
    script = EXAMPLES / "own_images.py"
    said = run_python(script, "pets-of-my-own", *sizes, url=service.url, folder=tmp_path)
    assert re.search(r"<DistilledSet: 2 images 3×8×8 of 2 classes>: right on \d+% of them", said)
    assert (tmp_path / "results").is_dir()


def test_a_network_made_elsewhere_is_calibrated(service, tmp_path):
    """The service and the client find the same temperature."""
    said = run_python(EXAMPLES / "calibrate_elsewhere.py", url=service.url, folder=tmp_path)
    (there,) = re.findall(r"softmax\(logits / ([\d.]+)\)", said)
    (here,) = re.findall(r"here: T ([\d.]+), ECE 0\.\d+", said)
    assert float(there) == pytest.approx(float(here), rel=1e-3)


def test_masks_are_compared(service, tmp_path):
    """A line per ratio."""
    sizes = ("--images-per-class", 1, "--iterations", 2, "--epochs", 2, "--seeds", 1)
    script = EXAMPLES / "compare_masks.py"
    said = run_python(script, "digits", *sizes, url=service.url, folder=tmp_path)
    assert len(re.findall(r"^ *(?:0|30)% +[\d.]+% +[\d.]+% +[\d.]+%$", said, re.M)) == 2


@pytest.fixture(scope="module")
def small_results(service, tmp_path_factory):
    """The README's lines of Python, with a small pipeline; gives the folder that they wrote to."""
    folder = tmp_path_factory.mktemp("readme")
    (code,) = blocks("README.md", "python")
    small = ", ".join(f"{name}={value!r}" for name, value in SMALL_PARAMS.items())
    whole = 'dataset="digits", distill={"images_per_class": 10}'
    assert code.count(whole) == 1
    said = run_python("-c", code.replace(whole, small), url=service.url, folder=folder)
    assert said.startswith("On digits, the 2 networks trained on")
    return folder


@pytest.mark.parametrize("page", ["docs/tutorial.md", "docs/training-loop.md"])
def test_the_code_of_a_page_runs(service, small_results, page):
    """All of it, one block after the other, on what the README's lines have downloaded."""
    code = blocks(page, "python")
    assert code
    run_python("-c", "\n".join(code), url=service.url, folder=small_results)


def test_the_notebook_runs(service, tmp_path):
    """Its cells in their order; what a cell ends with is there to be shown."""
    cells = json.loads((EXAMPLES / "first_steps.ipynb").read_text())["cells"]
    code = "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "code")
    made_small = {
        '"images_per_class": 10, "iterations": 60': str(TINY_DISTILL)[1:-1],
        '"n_seeds": 2, "epochs": 100': '"width": 4, "depth": 1, "n_seeds": 1, "epochs": 2',
    }
    for whole, small in made_small.items():
        assert code.count(whole) == 1
        code = code.replace(whole, small)
    said = run_python("-c", code, url=service.url, folder=tmp_path)
    assert said.rstrip().splitlines()[-1].startswith("<DistilledSet: 10 images 1×8×8")


def test_the_requests_of_the_readme_are_answered(service):
    """What its lines of curl send, and every address that they ask."""
    (block,) = [one for one in blocks("README.md") if "curl" in one]
    (body,) = re.findall(r"-d '(\{.*\})'", block)
    request = json.loads(body)
    assert request["kind"] == "pipeline"
    with Client(service.url) as client:
        job = client.submit({**SHORT_PIPELINE, "params": {**request["params"], **SMALL_PARAMS}})
        job.wait()
        for path in re.findall(r"127\.0\.0\.1:8000(/v1/jobs/\$JOB[/a-z]*)", block):
            if not path.endswith("/events"):
                assert client.get(path.replace("$JOB", job.id))
        (artifact, *_) = job.artifacts
        assert "/v1/artifacts/art_…/content" in block
        assert client.get(f"/v1/artifacts/{artifact.id}")["sha256"] == artifact.sha256
