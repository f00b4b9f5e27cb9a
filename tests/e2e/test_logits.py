"""A network made elsewhere, through the whole service: its logits up, its temperature back."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from ddcal.client import Client
from tests.services import run_ddcal


def post_as_curl(words, folder):
    """Do what a line of curl asks for, without curl; gives the answer's body."""
    (method, header, data, url) = shlex.split(words)[1::2] + shlex.split(words)[-1:]
    assert method == "POST"
    content = (folder / data[1:]).read_bytes() if data.startswith("@") else data.encode()
    name, _, value = header.partition(": ")
    answer = httpx.post(url, content=content, headers={name: value}, trust_env=False)
    assert answer.status_code == 202, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def pasted(service, tmp_path_factory):
    """What the OpenAPI document shows, run as it stands against this service: the job."""
    folder = tmp_path_factory.mktemp("logits")
    with Client(service.url) as client:
        document = client.get("/openapi.json")
    (sample,) = document["paths"]["/v1/logits"]["post"]["x-codeSamples"]
    source = sample["source"].replace("http://127.0.0.1:8000", service.url)
    making, *posts = source.replace("\\\n", "").split("\ncurl ")
    _, _, code = shlex.split(making)
    subprocess.run([sys.executable, "-c", code], cwd=folder, timeout=60, check=True)
    upload, job = (post_as_curl(words, folder) for words in posts)
    assert (upload["name"], job["kind"]) == ("my-network", "calibrate")
    watched = run_ddcal("watch", job["id"], url=service.url)
    assert watched.returncode == 0, watched.stderr
    return folder, job["id"]


def test_the_sample_of_the_document_ends_in_its_temperature(service, pasted):
    """Drawn for a temperature of 1.5: found, and with it the ECE on the test rows falls."""
    with Client(service.url) as client:
        found = [one.record for one in client.job(pasted[1]).results]
        facts = client.get("/v1/logits/my-network")["facts"]
    assert (facts["n_fit"], facts["n_test"], facts["n_classes"]) == (2000, 2000, 10)
    calibrations = {
        one.details["method"]: one.details for one in found if "temperature" in one.details
    }
    assert calibrations["none"]["temperature"] == 1
    assert calibrations["ts"]["temperature"] == pytest.approx(1.5, rel=0.05)
    (report,) = (one for one in found if one.resource == "report")
    assert report.details["measured_on"] == "test rows"
    before, after = (row["ece"]["mean"] for row in report.details["rows"])
    assert after < before / 2


def test_its_files_are_downloaded_by_method(service, pasted):
    """Each temperature with its small file, the report as JSON and as a page."""
    folder, job_id = pasted
    fetched = run_ddcal("download", job_id, "--out", folder / "out", url=service.url)
    assert fetched.returncode == 0, fetched.stderr
    names = {str(Path(line).relative_to(folder / "out")) for line in fetched.stdout.split()}
    assert {"none/temperature.json", "ts/temperature.json", "report.json", "report.html"} <= names
    found = json.loads((folder / "out/ts/temperature.json").read_text())
    assert found["apply"] == "softmax(logits / temperature)"


def test_probabilities_are_refused_in_words(service, tmp_path):
    """Before anything is kept, with the field that says what they are; then they are taken."""
    rows = np.random.default_rng(0).dirichlet(np.ones(5), size=50)
    np.savez(tmp_path / "p.npz", logits_fit=rows, labels_fit=np.arange(50) % 5)
    sent = run_ddcal("upload", "--logits", "wrong", tmp_path / "p.npz", url=service.url)
    assert sent.returncode == 1
    assert "values" in sent.stderr
    assert "probabilities" in sent.stderr
    with Client(service.url) as client:
        assert "wrong" not in {one["name"] for one in client.get("/v1/logits")["items"]}
    declared = ("upload", "--logits", "right", tmp_path / "p.npz", "--values", "probabilities")
    taken = run_ddcal(*declared, url=service.url)
    assert taken.returncode == 0, taken.stderr
