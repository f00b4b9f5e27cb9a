"""A whole pipeline through the command line: submit, watch, download."""

import hashlib
import json

import pytest

from ddcal.client import Client
from tests.services import TINY_PIPELINE, run_ddcal


@pytest.fixture(scope="module")
def pipeline(service, tmp_path_factory):
    """A tiny pipeline, submitted and watched to its end, and what that printed."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "pipeline.json").write_text(json.dumps(TINY_PIPELINE))
    submitted = run_ddcal("submit", "pipeline.json", "--watch", url=service.url, folder=folder)
    assert submitted.returncode == 0, submitted.stderr
    return submitted


def test_watch_shows_every_step(pipeline):
    """Without a terminal each job has its lines; then the end is told, and where the report is."""
    for role in ("distill", "train-distilled", "train-random", "calibrate-distilled", "evaluate"):
        assert role in pipeline.stderr
    job_id = pipeline.stdout.strip()
    ended, report = pipeline.stderr.splitlines()[-2:]
    assert ended == f"{job_id} succeeded"
    assert report.endswith(f"ddcal open {job_id}")


def test_watch_of_an_ended_job_tells_its_end(service, pipeline):
    """Exit 0 for a job that has succeeded."""
    watched = run_ddcal("watch", pipeline.stdout.strip(), url=service.url)
    assert watched.returncode == 0
    assert "succeeded" in watched.stderr


def test_download_fetches_everything_whole(service, pipeline, tmp_path):
    """Every file of every child arrives with the sha256 that the service knows it by."""
    job_id = pipeline.stdout.strip()
    fetched = run_ddcal("download", job_id, "--out", tmp_path, url=service.url)
    assert fetched.returncode == 0, fetched.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == sorted(fetched.stdout.split())
    names = {str(path.relative_to(tmp_path)) for path in files}
    assert {
        "distill/distilled_set.safetensors",
        "distill/manifest.json",
        "train-distilled/seed-0/model.safetensors",
        "train-distilled/seed-1/model.safetensors",
        "calibrate-random/ts-validation/seed-1/config.json",
        "evaluate/report.html",
        "evaluate/report.json",
    } <= names
    with Client(service.url) as client:
        known = [one.sha256 for one in client.job(job_id).artifacts]
    assert sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files) == sorted(known)


def test_cancelled_job_is_no_success(service, tmp_path):
    """A pipeline that is cancelled ends as such, and watch says so by its exit status."""
    long = json.loads(json.dumps(TINY_PIPELINE))
    long["params"]["distill"]["iterations"] = 1_000_000
    (tmp_path / "long.json").write_text(json.dumps(long))
    job_id = run_ddcal("submit", tmp_path / "long.json", url=service.url).stdout.strip()
    assert run_ddcal("cancel", job_id, url=service.url).stdout.strip() in (
        "cancelling",
        "cancelled",
    )
    watched = run_ddcal("watch", job_id, url=service.url)
    assert watched.returncode == 1
    assert watched.stderr.splitlines()[-1].endswith("cancelled")
    unfinished = run_ddcal("download", job_id, "--out", tmp_path / "out", url=service.url)
    assert unfinished.returncode == 1  # it has ended, and has made nothing
    assert f"{job_id} cancelled" in unfinished.stderr
    again = run_ddcal("retry", job_id, url=service.url).stdout.strip()
    with Client(service.url) as client:
        job = client.job(again)
        assert job.record.retry_of == job_id
        job.cancel()


def test_refusal_names_the_field(service, tmp_path):
    """What the service will not take is told with the field that is wrong."""
    wrong = json.loads(json.dumps(TINY_PIPELINE))
    wrong["params"]["distill"]["mask"] = {"ratio": 1.5}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    refused = run_ddcal("submit", tmp_path / "wrong.json", url=service.url)
    assert refused.returncode == 1
    assert "/params/distill/mask/ratio" in refused.stderr
    assert "1.5" in refused.stderr
