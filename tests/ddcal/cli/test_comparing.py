"""`ddcal compare`: from ids to a table and a page, against the real API."""

import json
import threading
from pathlib import Path

import pytest

from ddcal.client import Client
from tests.api.test_comparisons import pipeline
from tests.ddcal.conftest import url_of
from tests.waiting import until

LINES = [
    {"settings": {"distill.mask.ratio": 0.0}, "n": 2, "accuracy": 0.8, "ece": {"as trained": 0.25}},
    {"settings": {"distill.mask.ratio": 0.3}, "n": 2, "accuracy": 0.75, "ece": {"TS": 0.125}},
]
DETAILS = {
    "dataset": "digits",
    "headline": "It is lowest at 0.3.",
    "findings": ["It is lowest at 0.3.", "2 seeds are few."],
    "lines": LINES,
    "report_ids": [],
}


@pytest.fixture
def pipelines(api):
    """Two that are finished."""
    return [pipeline(api, seed=seed) for seed in (1, 2)]


@pytest.fixture
def compares(api):
    """Ends the next comparison, as a worker would."""

    def work():
        until(lambda: api.client.get("/v1/jobs", params={"kind": "compare"}).json()["items"])
        files = {"comparison.html": b"<p>", "comparison.csv": b"a\n"}
        api.succeed(api.claim("intake"), ("comparison", DETAILS, files))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def test_results_are_compared_in_one_command(api, run, pipelines, compares, tmp_path, capsys):
    """Its findings, a table, and where the page is."""
    out = tmp_path / "out"
    assert run("compare", *pipelines, "--name", "mine", "--out", out, "--no-open") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == DETAILS["findings"]
    assert said[3].split("  ")[0] == "distill.mask.ratio"
    assert said[4].split() == ["0", "2", "80.0", "%", "25.0", "%"]
    assert said[5].split() == ["0.3", "2", "75.0", "%", "12.5", "%"]
    assert said[-1] == f"page: {out / 'comparison.html'}"
    assert (out / "comparison.html").read_bytes() == b"<p>"
    with Client(url_of(api)) as client:
        (found,) = client.comparisons()
    assert found.record.name == "mine"
    assert run("show", found.id) == 0
    shown = capsys.readouterr().out
    assert "2 seeds are few." in shown
    assert "12.5 %" in shown


def test_the_job_is_shown_and_opened_by_its_comparison(run, pipelines, compares, tmp_path, capsys):
    """Rather than by the reports that it is about."""
    assert run("compare", *pipelines, "--out", tmp_path, "--json") == 0
    job_id = json.loads(capsys.readouterr().out)["job"]["id"]
    assert run("show", job_id) == 0
    assert "2 seeds are few." in capsys.readouterr().out
    assert run("open", job_id) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == b"<p>"


def test_programs_read_json(run, pipelines, compares, tmp_path, capsys):
    """The job, the comparison and the files."""
    assert run("compare", *pipelines, "--out", tmp_path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["job"]["state"] == "succeeded"
    assert said["comparison"]["details"]["lines"] == LINES
    assert len(said["files"]) == 2


def test_what_cannot_be_compared_is_told(run, pipelines, capsys):
    """As the service tells it, on one side; nothing is printed on the other."""
    assert run("compare", pipelines[0]) != 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "wanted 2 to 50 finished reports; got 1 report" in told.err
