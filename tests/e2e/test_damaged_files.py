"""A bit flipped in every file of a pipeline under the running service, real trainers at work."""

import httpx

from ddcal.client import Client
from tests.damage import flip_a_bit
from tests.services import SHORT_PIPELINE, run_ddcal

PIPELINE = {**SHORT_PIPELINE, "reuse": True, "params": {**SHORT_PIPELINE["params"], "seed": 12}}
# Of the same bytes whoever makes them: texts have ids and times.
LEARNED = (".safetensors", ".npz", ".pt2", ".png")


def run(client):
    """The pipeline, ended well."""
    return client.get(f"/v1/jobs/{client.submit(PIPELINE).wait().id}")


def files_of(client, pipeline):
    """All files that its children have made."""
    return client.get(f"/v1/jobs/{pipeline['id']}/artifacts")["items"]


def damage(service, files):
    """Flip a bit in each; equal files of a job are one."""
    for path in {service.folder / "artifacts" / file["job_id"] / file["sha256"] for file in files}:
        flip_a_bit(path)


def learned(files):
    """sha256 of what was learned, by name."""
    return sorted(
        (file["name"], file["sha256"]) for file in files if file["name"].endswith(LEARNED)
    )


def test_damaged_files_are_told_of_and_computed_anew(service):
    """None is served or taken over; the same request makes the same bytes again."""
    with Client(service.url) as client:
        first = run(client)
        whole = files_of(client, first)
        assert {file["name"] for file in whole} >= {
            "distilled_set.safetensors",
            "manifest.json",
            "model.safetensors",
            "report.html",
            "report.json",
        }
        damage(service, whole)
        for file in whole:
            answer = httpx.get(service.url + file["url"], trust_env=False)
            assert (answer.status_code, answer.json()["code"]) == (500, "file_damaged"), file

        second = run(client)
        assert [child["reused_from"] for child in second["children"]] == [None] * 4
        anew = files_of(client, second)
        assert learned(anew) == learned(whole)
        for file in anew:
            answer = httpx.get(service.url + file["url"], trust_env=False)
            assert answer.status_code == 200, file

        # Calibrations carry the weights they belong to: these two are computed, and what was made
        # of them is taken over.
        weights = [file for file in anew if file["name"] == "model.safetensors"]
        damage(service, weights)
        third = run(client)
        computed = {child["kind"] for child in third["children"] if child["reused_from"] is None}
        assert computed == {"train", "calibrate"}

        ran = run_ddcal("check", "--data-folder", service.folder)
        assert ran.returncode == 1
        lines = ran.stdout.splitlines()
        assert "the service: ready" in lines
        n_damaged = len(whole) + len(weights)
        assert sum(line.startswith("damaged: ") for line in lines) == n_damaged
        (summary,) = [line for line in lines if line.startswith("the files: ")]
        assert summary.endswith(f"damaged: {n_damaged:,}")
